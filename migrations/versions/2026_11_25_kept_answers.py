"""kept answers

Revision ID: 6c1f0a9d2e75
Revises: d90b3e6f1c48
Create Date: 2026-11-25 02:13:20.402711
"""

import sqlalchemy as sa
from alembic import op

revision = "6c1f0a9d2e75"
down_revision = "d90b3e6f1c48"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "kept_answer",
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="SHA-256 over the account and its Idempotency-Key."),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 over the request."),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True, comment="NULL once anything of the history was erased."),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_kept_answer")),
    )
    op.create_index(op.f("ix_kept_answer_kept_at"), "kept_answer", ["kept_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("kept_answer")
