"""The tables, as the newest migration leaves them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

account = Table(
    "account",
    metadata,
    Column("username", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    CheckConstraint("role IN ('analyst', 'admin')", name="role"),
)

# The token of a session is nowhere: whoever reads this table can open no session.
session = Table(
    "session",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of the token."),
    Column("username", Text, ForeignKey(account.c.username), nullable=False),
    Column("credential", LargeBinary, nullable=False, comment="SHA-256 of the password hash at the sign-in."),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)

# `account` has no foreign key to the table: an insert would lock the account's row for each prediction,
# and accounts are disabled, never deleted.
prediction = Table(
    "prediction",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("account", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("intercept", Double),
    Column("risk", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("contributions", ARRAY(Double), comment="Log-odds, in the order of the eleven features below."),
    Column("out_of_range", ARRAY(SmallInteger), nullable=False, comment="Positions of values scored at the edge."),
    Column("age", SmallInteger, nullable=False),
    Column("monthly_income", Double, nullable=False),
    Column("commute_distance", Double, nullable=False),
    Column("environment_satisfaction", SmallInteger, nullable=False),
    Column("overtime", Boolean, nullable=False),
    Column("years_since_promotion", SmallInteger, nullable=False),
    Column("work_life_balance", SmallInteger, nullable=False),
    Column("stock_option_level", SmallInteger, nullable=False),
    Column("years_in_role", SmallInteger, nullable=False),
    Column("years_at_company", SmallInteger, nullable=False),
    Column("total_working_years", Double, nullable=False),
    Column("employee_ref", Text),
    Column("run_id", Uuid, comment="Of the scoring_run that stored it."),
    CheckConstraint("risk IN ('low', 'moderate', 'high')", name="risk"),
    CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
)
Index(None, prediction.c.created_at)
Index(None, prediction.c.account, prediction.c.id)
Index(
    None,
    prediction.c.employee_ref,
    prediction.c.id,
    postgresql_where=text("employee_ref IS NOT NULL"),
)
Index(None, prediction.c.run_id, prediction.c.id, postgresql_where=text("run_id IS NOT NULL"))

# Which runs of many predictions are stored, so that one that is tried again is stored once.
scoring_run = Table(
    "scoring_run",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# A log that only grows. Its numbers have no gap, so the primary key settles who comes first of two who append.
model_activation = Table(
    "model_activation",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("account", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("previous", Text, comment="Version that answered before."),
    Column("version", Text, comment="Version that answers from now on; null: the one each process started with."),
    Column("shadow", Text, comment="Version that scores without answering from now on."),
    Column("reason", Text, nullable=False),
    CheckConstraint("action IN ('activate', 'roll_back', 'shadow')", name="action"),
    CheckConstraint("number > 0", name="number"),
)

# Beside the prediction and not in it: it comes later, or not at all, and the row of an answer never changes.
shadow_score = Table(
    "shadow_score",
    metadata,
    Column("prediction_id", Uuid, ForeignKey(prediction.c.id, ondelete="CASCADE"), primary_key=True),
    Column("model_version", Text, primary_key=True),
    Column("probability", Double, nullable=False),
    Column("leaves", Boolean, nullable=False),
    CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
)
Index(None, shadow_score.c.model_version)

# Both only grow, and the largest number of a prediction counts. Numbers and not moments: replicas' clocks differ.
outcome = Table(
    "outcome",
    metadata,
    Column("prediction_id", Uuid, ForeignKey(prediction.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("left", Boolean, nullable=False),
    Column("observed_on", Date, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("account", Text, nullable=False),
    CheckConstraint("number > 0", name="number"),
)
Index(None, outcome.c.observed_on, postgresql_where=text('NOT "left"'))
review = Table(
    "review",
    metadata,
    Column("prediction_id", Uuid, ForeignKey(prediction.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reviewed_at", DateTime(timezone=True), nullable=False),
    Column("account", Text, nullable=False),
    CheckConstraint("decision IN ('accepted', 'overridden', 'dismissed')", name="decision"),
    CheckConstraint("number > 0", name="number"),
)

# Whoever stores or deletes predictions adds to a row of its own; the sum over the writers counts. The row is updated
# with nearly every commit: half of each page is left free, so that its versions stay there and need no index entry.
traffic_count = Table(
    "traffic_count",
    metadata,
    Column("model_version", Text, primary_key=True),
    Column("day", Date, primary_key=True, comment="In UTC."),
    Column("writer", Uuid, primary_key=True, comment="A process, or all zeros for what is no process's own."),
    Column(
        "counts",
        ARRAY(Integer),
        nullable=False,
        comment="As churn.domain.traffic.Binning lays them out; none where there was no manifest.",
    ),
    postgresql_with={"fillfactor": "50"},
)

# What the history and the outcomes say of one day, read off them, to be read again when the stamp is another.
day_evidence = Table(
    "day_evidence",
    metadata,
    Column("model_version", Text, primary_key=True),
    Column("day", Date, primary_key=True, comment="In UTC."),
    Column("months", SmallInteger, nullable=False, comment="Horizon of the outcomes."),
    Column("stamp", LargeBinary, nullable=False, comment="SHA-256 over who last wrote the counts of that day."),
    Column("scores", LargeBinary, nullable=False, comment="Packed, as churn.adapters.postgres.evidence has it."),
    Column("decided", LargeBinary, nullable=False, comment="The same, of the outcomes that say something."),
)

# Only grows: a trigger of the migration refuses everything but INSERT and SELECT.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("account", Text),
    Column("action", Text, nullable=False),
    Column("subject", Text),
    Column("details", JSONB, nullable=False),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 over the entry and the hash before it."),
    CheckConstraint("number > 0", name="number"),
)

# A log that only grows, but for the moment of delivery. Numbers have no gap, so that of two processes that see the same
# change one records it.
alert = Table(
    "alert",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("delivered_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('ok', 'alarm')", name="state"),
    CheckConstraint("number > 0", name="number"),
)

# What a request with an Idempotency-Key was answered, stored in the transaction of what it changed.
kept_answer = Table(
    "kept_answer",
    metadata,
    Column("key", LargeBinary, primary_key=True, comment="SHA-256 over the account and its Idempotency-Key."),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 over the request."),
    Column("kept_at", DateTime(timezone=True), nullable=False),
    Column("media_type", Text),
    Column("body", LargeBinary, comment="NULL once anything of the history was erased."),
    Index(None, "kept_at"),
)
