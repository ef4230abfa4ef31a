"""What became of predictions, and what people made of them, in PostgreSQL."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Date, Row, cast, func, insert, or_, select, text, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.audit import remember
from churn.adapters.postgres.engine import connection as connected
from churn.adapters.postgres.engine import storage_errors, transaction
from churn.adapters.postgres.tables import outcome as outcomes
from churn.adapters.postgres.tables import prediction
from churn.adapters.postgres.tables import review as reviews
from churn.adapters.postgres.traffic import touch
from churn.domain.audit import AuditEvent
from churn.domain.errors import UnknownPrediction
from churn.domain.outcome import Outcome, Subject
from churn.domain.review import Decision, Review, ReviewRates

#: One statement for any number of rows, each of a prediction of its own.
_APPEND: Final = text(
    'INSERT INTO outcome (prediction_id, number, "left", observed_on, recorded_at, account) '
    'SELECT given.prediction_id, coalesce(newest.number, 0) + 1, given."left", given.observed_on,'
    " given.recorded_at, given.account "
    "FROM unnest(CAST(:prediction_id AS uuid[]), CAST(:left AS boolean[]), CAST(:observed_on AS date[]),"
    " CAST(:recorded_at AS timestamptz[]), CAST(:account AS text[]))"
    ' AS given (prediction_id, "left", observed_on, recorded_at, account) '
    "JOIN prediction ON prediction.id = given.prediction_id "
    "LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.prediction_id = given.prediction_id"
    " ORDER BY number DESC LIMIT 1) AS newest ON true "
    'WHERE (newest."left", newest.observed_on) IS DISTINCT FROM (given."left", given.observed_on) '
    "RETURNING prediction_id"
)


class PostgresOutcomeLog:
    """Fills the port `OutcomeLog`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, outcomes: Sequence[Outcome], *, audit: Callable[[int], AuditEvent]) -> int:
        """See the port."""
        columns = {name: [getattr(entry, name) for entry in outcomes] for name in Outcome.__struct_fields__}
        with storage_errors():
            async with transaction(self._engine) as connection:
                await _lock(connection, columns["prediction_id"])
                added = (await connection.execute(_APPEND, columns)).scalars().all()
                if added:
                    await touch(connection, added)
                    await remember(connection, audit(len(added)))
                return len(added)

    async def of(self, prediction_id: UUID) -> Sequence[Outcome]:
        """See the port."""
        statement = select(outcomes).where(outcomes.c.prediction_id == prediction_id).order_by(outcomes.c.number.desc())
        with storage_errors():
            async with connected(self._engine) as connection:
                return [_outcome(row) for row in await connection.execute(statement)]

    async def subjects(self, *, prediction_ids: Collection[UUID], employee_refs: Collection[str]) -> Sequence[Subject]:
        """See the port."""
        newest = (
            select(outcomes)
            .where(outcomes.c.prediction_id == prediction.c.id)
            .order_by(outcomes.c.number.desc())
            .limit(1)
            .lateral()
        )
        statement = (
            select(
                prediction.c.id.label("id"),
                prediction.c.created_at.label("predicted_at"),
                prediction.c.employee_ref.label("employee_ref"),
                newest,
            )
            .select_from(prediction.outerjoin(newest, true()))
            .where(
                or_(
                    prediction.c.id == func.any(list(prediction_ids)),
                    prediction.c.employee_ref == func.any(list(employee_refs)),
                )
            )
            .order_by(prediction.c.id)
        )
        with storage_errors():
            async with connected(self._engine) as connection:
                return [
                    Subject(
                        prediction_id=row.id,
                        predicted_at=row.predicted_at,
                        employee_ref=row.employee_ref,
                        newest=None if row.prediction_id is None else _outcome(row),
                    )
                    for row in await connection.execute(statement)
                ]


class PostgresReviewLog:
    """Fills the port `ReviewLog`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, review: Review, *, audit: AuditEvent) -> bool:
        """See the port."""
        said = msgspec.structs.asdict(review) | {"decision": review.decision.value}
        newest = (
            select(reviews)
            .where(reviews.c.prediction_id == review.prediction_id)
            .order_by(reviews.c.number.desc())
            .limit(1)
        )
        with storage_errors():
            async with transaction(self._engine) as connection:
                if not await _lock(connection, [review.prediction_id]):
                    raise UnknownPrediction(review.prediction_id)
                last = (await connection.execute(newest)).one_or_none()
                if last is not None and all(
                    getattr(last, name) == said[name] for name in ("decision", "reason", "account")
                ):
                    return False
                number = 1 if last is None else last.number + 1
                await connection.execute(insert(reviews).values(number=number, **said))
                await remember(connection, audit)
        return True

    async def of(self, prediction_id: UUID) -> Sequence[Review]:
        """See the port."""
        statement = select(reviews).where(reviews.c.prediction_id == prediction_id).order_by(reviews.c.number.desc())
        with storage_errors():
            async with connected(self._engine) as connection:
                rows = (await connection.execute(statement)).all()
        return [msgspec.convert(row, Review, from_attributes=True) for row in rows]

    async def rates(self, *, since: date, until: date) -> Sequence[ReviewRates]:
        """See the port."""
        newest = (
            select(reviews.c.prediction_id, reviews.c.decision)
            .order_by(reviews.c.prediction_id, reviews.c.number.desc())
            .ext(distinct_on(reviews.c.prediction_id))
            .subquery()
        )
        month = cast(func.date_trunc("month", prediction.c.created_at), Date).label("month")
        statement = (
            select(
                month,
                prediction.c.model_version,
                *(
                    func.count().filter(newest.c.decision == decision.value).label(decision.value)
                    for decision in Decision
                ),
            )
            .select_from(newest.join(prediction, prediction.c.id == newest.c.prediction_id))
            .where(prediction.c.created_at >= _midnight(since), prediction.c.created_at < _midnight(until))
            .group_by(month, prediction.c.model_version)
            .order_by(month, prediction.c.model_version.collate("C"))
        )
        with storage_errors():
            async with connected(self._engine) as connection:
                rows = (await connection.execute(statement)).all()
        return [msgspec.convert(row, ReviewRates, from_attributes=True) for row in rows]


async def _lock(connection: AsyncConnection, prediction_ids: Iterable[UUID]) -> int:
    """Keep others from numbering entries of these predictions until the transaction ends; how many there are.

    In one order, so that no two wait for each other. A prediction that is being erased meanwhile is not there.
    """
    statement = (
        select(prediction.c.id)
        .where(prediction.c.id == func.any(list(prediction_ids)))
        .order_by(prediction.c.id)
        .with_for_update(key_share=True)
    )
    return len((await connection.execute(statement)).all())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _outcome(row: Row[Any]) -> Outcome:
    return msgspec.convert(row, Outcome, from_attributes=True)
