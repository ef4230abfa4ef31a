"""Runs the migrations on the connection that `churn.adapters.postgres.migrations` hands over."""

from alembic import context

from churn.adapters.postgres.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
