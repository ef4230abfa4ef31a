"""which run a prediction is of

Revision ID: 4f0b7d92c6e1
Revises: 83d5a0c4e1f7
Create Date: 2026-11-25 11:31:05.274419
"""

import sqlalchemy as sa
from alembic import op

revision = "4f0b7d92c6e1"
down_revision = "83d5a0c4e1f7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # Predictions of earlier runs stay without one: what was stored together was not written down.
    op.add_column(
        "prediction", sa.Column("run_id", sa.Uuid(), nullable=True, comment="Of the scoring_run that stored it.")
    )
    op.create_index(
        op.f("ix_prediction_run_id_id"),
        "prediction",
        ["run_id", "id"],
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(op.f("ix_prediction_run_id_id"), table_name="prediction")
    op.drop_column("prediction", "run_id")
