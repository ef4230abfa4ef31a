"""scoring runs

Revision ID: 3b8e61c4d7a9
Revises: b2a7c91e06d5
Create Date: 2026-11-25 01:14:07.530912
"""

import sqlalchemy as sa
from alembic import op

revision = "3b8e61c4d7a9"
down_revision = "b2a7c91e06d5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Give up rather than queue behind a long transaction, with every request queueing behind us.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "scoring_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scoring_run")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("scoring_run")
