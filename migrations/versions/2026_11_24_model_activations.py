"""model activations and shadow scores

Revision ID: 7d3f0a9b52e4
Revises: 1c56b5b98f5b
Create Date: 2026-11-24 23:12:40.118203
"""

import sqlalchemy as sa
from alembic import op

revision = "7d3f0a9b52e4"
down_revision = "1c56b5b98f5b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Give up rather than queue behind a long transaction, with every request queueing behind us.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "model_activation",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True, comment="Version that answered before."),
        sa.Column(
            "version",
            sa.Text(),
            nullable=True,
            comment="Version that answers from now on; null: the one each process started with.",
        ),
        sa.Column("shadow", sa.Text(), nullable=True, comment="Version that scores without answering from now on."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("action IN ('activate', 'roll_back', 'shadow')", name=op.f("ck_model_activation_action")),
        sa.CheckConstraint("number > 0", name=op.f("ck_model_activation_number")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_model_activation")),
    )
    op.create_table(
        "shadow_score",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("leaves", sa.Boolean(), nullable=False),
        sa.CheckConstraint("probability BETWEEN 0 AND 1", name=op.f("ck_shadow_score_probability")),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["prediction.id"],
            name=op.f("fk_shadow_score_prediction_id_prediction"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("prediction_id", "model_version", name=op.f("pk_shadow_score")),
    )
    op.create_index(op.f("ix_shadow_score_model_version"), "shadow_score", ["model_version"], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(op.f("ix_shadow_score_model_version"), table_name="shadow_score")
    op.drop_table("shadow_score")
    op.drop_table("model_activation")
