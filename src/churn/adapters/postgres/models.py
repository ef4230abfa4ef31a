"""Which model versions serve, and what the shadow made of the same requests, in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Double, Row, and_, case, func, insert, join, or_, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.postgres.announcements import announcements
from churn.adapters.postgres.audit import remember
from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import model_activation as log
from churn.adapters.postgres.tables import prediction, shadow_score
from churn.domain.activation import Activation, Agreement, ShadowScore
from churn.domain.audit import AuditEvent
from churn.domain.errors import ActivationConflict
from churn.domain.prediction import Risk

#: One statement for any number of rows.
_INSERT: Final = text(
    "INSERT INTO shadow_score (prediction_id, model_version, probability, leaves) "
    "SELECT score.* "
    "FROM unnest(CAST(:prediction_id AS uuid[]), CAST(:model_version AS text[]),"
    " CAST(:probability AS double precision[]), CAST(:leaves AS boolean[]))"
    " AS score (prediction_id, model_version, probability, leaves) "
    "JOIN prediction ON prediction.id = score.prediction_id "
    "ON CONFLICT DO NOTHING"
)
#: Of `NOTIFY`, without a payload. Every release must keep it: old and new run side by side.
CHANNEL: Final = "model_activated"


class PostgresModelRegistry:
    """Fills the port `ModelRegistry`."""

    def __init__(self, engine: AsyncEngine, *, keepalive: float = 30.0) -> None:
        """`keepalive` is how many seconds `changes` may hear nothing before it checks its connection."""
        self._engine = engine
        self._keepalive = keepalive

    async def current(self) -> Activation | None:
        """See the port."""
        statement = select(log).order_by(log.c.number.desc()).limit(1)
        with storage_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _from_row(row)

    async def log(self) -> Sequence[Activation]:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(select(log).order_by(log.c.number))).all()
        return [_from_row(row) for row in rows]

    async def append(self, activation: Activation, *, audit: AuditEvent | None = None) -> None:
        """See the port."""
        with storage_errors():
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(insert(log).values(msgspec.structs.asdict(activation)))
                    # Delivered when this commits, so whoever hears it can read the entry.
                    await connection.execute(select(func.pg_notify(CHANNEL, "")))
                    await remember(connection, audit)
            except IntegrityError as error:
                raise ActivationConflict from error

    def changes(self) -> AsyncIterator[object]:
        """See the port."""
        return announcements(self._engine, CHANNEL, keepalive=self._keepalive)


class PostgresShadowScores:
    """Fills the port `ShadowScores`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, scores: Sequence[ShadowScore]) -> None:
        """See the port."""
        columns = {name: [getattr(score, name) for score in scores] for name in ShadowScore.__struct_fields__}
        with storage_errors():
            async with self._engine.begin() as connection:
                # Nobody waits for them: they need not wait for the disk, nor keep it from the answers.
                await connection.execute(text("SET LOCAL synchronous_commit TO off"))
                await connection.execute(_INSERT, columns)

    async def agreement(self, a: str, b: str) -> Agreement:
        """See the port."""
        ours, theirs = prediction.c.probability, shadow_score.c.probability
        equal = (prediction.c.risk == Risk.HIGH.value) == shadow_score.c.leaves
        statement = (
            select(
                func.count().label("n"),
                func.avg(func.abs(ours - theirs)).label("mean_absolute_difference"),
                func.avg(case((equal, 1.0), else_=0.0)).cast(Double).label("equal_classes"),
                func.corr(ours, theirs).label("correlation"),
            )
            .select_from(join(shadow_score, prediction))
            .where(
                or_(
                    and_(prediction.c.model_version == a, shadow_score.c.model_version == b),
                    and_(prediction.c.model_version == b, shadow_score.c.model_version == a),
                )
            )
        )
        with storage_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(statement)).one()
        return msgspec.convert(row, Agreement, from_attributes=True)


def _from_row(row: Row[Any]) -> Activation:
    return msgspec.convert(row, Activation, from_attributes=True)
