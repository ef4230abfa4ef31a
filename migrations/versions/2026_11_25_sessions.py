"""sessions of the console

Revision ID: 4be1c7d20a95
Revises: 3b8e61c4d7a9
Create Date: 2026-11-25 01:14:31.902116
"""

import sqlalchemy as sa
from alembic import op

revision = "4be1c7d20a95"
down_revision = "3b8e61c4d7a9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Give up rather than queue behind a long transaction, with every request queueing behind us.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "session",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the token."),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column(
            "credential", sa.LargeBinary(), nullable=False, comment="SHA-256 of the password hash at the sign-in."
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["username"], ["account.username"], name=op.f("fk_session_username_account")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("session")
