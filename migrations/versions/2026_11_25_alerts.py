"""alerts

Revision ID: d90b3e6f1c48
Revises: 5e81d3f4a2c7
Create Date: 2026-11-25 01:52:41.730118
"""

import sqlalchemy as sa
from alembic import op

revision = "d90b3e6f1c48"
down_revision = "5e81d3f4a2c7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "alert",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("reasons", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("number > 0", name=op.f("ck_alert_number")),
        sa.CheckConstraint("state IN ('ok', 'alarm')", name=op.f("ck_alert_state")),
        sa.PrimaryKeyConstraint("subject", "number", name=op.f("pk_alert")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("alert")
