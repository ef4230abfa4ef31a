"""accounts and predictions

Revision ID: 1c56b5b98f5b
Revises:
Create Date: 2026-11-24 22:33:12.837772
"""

import sqlalchemy as sa
from alembic import op

revision = "1c56b5b98f5b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Give up rather than queue behind a long transaction, with every request queueing behind us.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "account",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("role IN ('analyst', 'admin')", name=op.f("ck_account_role")),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_account")),
    )
    op.create_table(
        "prediction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("intercept", sa.Double(), nullable=True),
        sa.Column("risk", sa.Text(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column(
            "contributions",
            sa.ARRAY(sa.Double()),
            nullable=True,
            comment="Log-odds, in the order of the eleven features below.",
        ),
        sa.Column(
            "out_of_range",
            sa.ARRAY(sa.SmallInteger()),
            nullable=False,
            comment="Positions of values scored at the edge.",
        ),
        sa.Column("age", sa.SmallInteger(), nullable=False),
        sa.Column("monthly_income", sa.Double(), nullable=False),
        sa.Column("commute_distance", sa.Double(), nullable=False),
        sa.Column("environment_satisfaction", sa.SmallInteger(), nullable=False),
        sa.Column("overtime", sa.Boolean(), nullable=False),
        sa.Column("years_since_promotion", sa.SmallInteger(), nullable=False),
        sa.Column("work_life_balance", sa.SmallInteger(), nullable=False),
        sa.Column("stock_option_level", sa.SmallInteger(), nullable=False),
        sa.Column("years_in_role", sa.SmallInteger(), nullable=False),
        sa.Column("years_at_company", sa.SmallInteger(), nullable=False),
        sa.Column("total_working_years", sa.Double(), nullable=False),
        sa.Column("employee_ref", sa.Text(), nullable=True),
        sa.CheckConstraint("risk IN ('low', 'moderate', 'high')", name=op.f("ck_prediction_risk")),
        sa.CheckConstraint("probability BETWEEN 0 AND 1", name=op.f("ck_prediction_probability")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
    )
    op.create_index(op.f("ix_prediction_created_at"), "prediction", ["created_at"], unique=False)
    op.create_index(
        op.f("ix_prediction_employee_ref_id"),
        "prediction",
        ["employee_ref", "id"],
        unique=False,
        postgresql_where=sa.text("employee_ref IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(
        op.f("ix_prediction_employee_ref_id"),
        table_name="prediction",
        postgresql_where=sa.text("employee_ref IS NOT NULL"),
    )
    op.drop_index(op.f("ix_prediction_created_at"), table_name="prediction")
    op.drop_table("prediction")
    op.drop_table("account")
