"""what is known of a day, and indexes for what is looked for

Revision ID: 83d5a0c4e1f7
Revises: 6c1f0a9d2e75
Create Date: 2026-11-25 05:12:40.118203
"""

import sqlalchemy as sa
from alembic import op

revision = "83d5a0c4e1f7"
down_revision = "6c1f0a9d2e75"
branch_labels = None
depends_on = None

_COUNTS = "As churn.domain.traffic.Binning lays them out"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "day_evidence",
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="In UTC."),
        sa.Column("months", sa.SmallInteger(), nullable=False, comment="Horizon of the outcomes."),
        sa.Column(
            "stamp", sa.LargeBinary(), nullable=False, comment="SHA-256 over who last wrote the counts of that day."
        ),
        sa.Column(
            "scores",
            sa.LargeBinary(),
            nullable=False,
            comment="Packed, as churn.adapters.postgres.evidence has it.",
        ),
        sa.Column("decided", sa.LargeBinary(), nullable=False, comment="The same, of the outcomes that say something."),
        sa.PrimaryKeyConstraint("model_version", "day", name=op.f("pk_day_evidence")),
    )
    # Predictions wait meanwhile, for about a second and a half per million of them.
    op.create_index(op.f("ix_prediction_account_id"), "prediction", ["account", "id"])
    op.create_index(op.f("ix_outcome_observed_on"), "outcome", ["observed_on"], postgresql_where=sa.text('NOT "left"'))
    op.alter_column(
        "traffic_count",
        "counts",
        comment=f"{_COUNTS}; none where there was no manifest.",
        existing_comment=f"{_COUNTS}.",
        existing_nullable=False,
    )
    # Predictions that a release stored which did not count, or without a manifest: their days have a row from now on.
    op.execute(
        """
        INSERT INTO traffic_count (model_version, day, writer, counts)
        SELECT DISTINCT model_version, (created_at AT TIME ZONE 'UTC')::date AS day,
               '00000000-0000-0000-0000-000000000001'::uuid, '{}'::integer[]
        FROM prediction AS made
        WHERE NOT EXISTS (
            SELECT FROM traffic_count AS counted
            WHERE counted.model_version = made.model_version
            AND counted.day = (made.created_at AT TIME ZONE 'UTC')::date
        )
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The release before adds counts of one length only.
    op.execute("DELETE FROM traffic_count WHERE counts = '{}'")
    op.alter_column(
        "traffic_count",
        "counts",
        comment=f"{_COUNTS}.",
        existing_comment=f"{_COUNTS}; none where there was no manifest.",
        existing_nullable=False,
    )
    op.drop_index(op.f("ix_prediction_account_id"), table_name="prediction")
    op.drop_index(op.f("ix_outcome_observed_on"), table_name="outcome")
    op.drop_table("day_evidence")
