"""traffic counts

Revision ID: c41f8e2d7a90
Revises: 4be1c7d20a95
Create Date: 2026-11-25 01:32:08.215530
"""

import sqlalchemy as sa
from alembic import op

revision = "c41f8e2d7a90"
down_revision = "4be1c7d20a95"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # Starts empty: `churn monitor rebuild` counts what the history holds already, which takes the models' manifests.
    op.create_table(
        "traffic_count",
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="In UTC."),
        sa.Column("writer", sa.Uuid(), nullable=False, comment="A process, or all zeros for what is no process's own."),
        sa.Column(
            "counts",
            sa.ARRAY(sa.Integer()),
            nullable=False,
            comment="As churn.domain.traffic.Binning lays them out.",
        ),
        sa.PrimaryKeyConstraint("model_version", "day", "writer", name=op.f("pk_traffic_count")),
        postgresql_with={"fillfactor": "50"},
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("traffic_count")
