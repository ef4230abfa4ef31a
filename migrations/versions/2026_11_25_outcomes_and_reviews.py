"""outcomes and reviews

Revision ID: b2a7c91e06d5
Revises: 7d3f0a9b52e4
Create Date: 2026-11-25 01:20:11.402817
"""

import sqlalchemy as sa
from alembic import op

revision = "b2a7c91e06d5"
down_revision = "7d3f0a9b52e4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Give up rather than queue behind a long transaction, with every request queueing behind us.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "outcome",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("left", sa.Boolean(), nullable=False),
        sa.Column("observed_on", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_outcome_number")),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["prediction.id"], name=op.f("fk_outcome_prediction_id_prediction"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prediction_id", "number", name=op.f("pk_outcome")),
    )
    op.create_table(
        "review",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.CheckConstraint("decision IN ('accepted', 'overridden', 'dismissed')", name=op.f("ck_review_decision")),
        sa.CheckConstraint("number > 0", name=op.f("ck_review_number")),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["prediction.id"], name=op.f("fk_review_prediction_id_prediction"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prediction_id", "number", name=op.f("pk_review")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("review")
    op.drop_table("outcome")
