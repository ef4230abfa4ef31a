"""Everything that hangs on predictions, found and removed together, in PostgreSQL."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, Select, Table, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.audit import remember
from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.history import from_row
from churn.adapters.postgres.tables import day_evidence, kept_answer, outcome, prediction, review, shadow_score
from churn.adapters.postgres.traffic import TrafficCounter
from churn.domain.activation import ShadowScore
from churn.domain.audit import AuditEvent
from churn.domain.outcome import Outcome
from churn.domain.personal_data import Kept, Removed
from churn.domain.review import Review


class PostgresPersonalData:
    """Fills the port `PersonalData`."""

    def __init__(self, engine: AsyncEngine, *, counter: TrafficCounter) -> None:
        """`counter` takes what is removed out of the counts of the traffic."""
        self._engine = engine
        self._counter = counter

    async def of(self, employee_ref: str) -> Sequence[Kept]:
        """See the port."""
        theirs = select(prediction).where(prediction.c.employee_ref == employee_ref).order_by(prediction.c.id)
        with storage_errors():
            async with self._engine.connect() as connection:
                # All from one moment: none of them without what hung on it then.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                predictions = [from_row(row) for row in await connection.execute(theirs)]
                ids = [item.id for item in predictions]
                scores = await _attached(connection, shadow_score, ids, shadow_score.c.model_version.collate("C"))
                outcomes = await _attached(connection, outcome, ids, outcome.c.number.desc())
                reviews = await _attached(connection, review, ids, review.c.number.desc())
        return [
            Kept(
                prediction=item,
                shadow_scores=[msgspec.convert(row, ShadowScore, from_attributes=True) for row in scores[item.id]],
                outcomes=[msgspec.convert(row, Outcome, from_attributes=True) for row in outcomes[item.id]],
                reviews=[msgspec.convert(row, Review, from_attributes=True) for row in reviews[item.id]],
            )
            for item in predictions
        ]

    async def erase(self, employee_ref: str, *, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """See the port."""
        theirs = (
            select(prediction.c.id)
            .where(prediction.c.employee_ref == employee_ref)
            .order_by(prediction.c.id)
            .with_for_update()
        )
        return await self._remove(theirs, audit)

    async def older_than(self, moment: datetime) -> int:
        """See the port."""
        statement = select(func.count()).select_from(prediction).where(prediction.c.created_at < moment)
        with storage_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(statement)).scalar_one()

    async def purge(self, *, before: datetime, limit: int, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """See the port."""
        oldest = (
            select(prediction.c.id)
            .where(prediction.c.created_at < before)
            .order_by(prediction.c.created_at)
            .limit(limit)
            # Two that purge at once share the work, rather than wait for each other.
            .with_for_update(skip_locked=True)
        )
        return await self._remove(oldest, audit)

    async def _remove(self, selection: Select[tuple[UUID]], audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        with storage_errors():
            async with self._engine.begin() as connection:
                # Locked first: nothing can be hung on them between what is counted and what is removed.
                ids = (await connection.execute(selection)).scalars().all()
                if not ids:
                    return None
                counts = {}
                for name, table in (("shadow_scores", shadow_score), ("outcomes", outcome), ("reviews", review)):
                    statement = delete(table).where(table.c.prediction_id == func.any(ids))
                    counts[name] = (await connection.execute(statement)).rowcount
                removal = delete(prediction).where(prediction.c.id == func.any(ids)).returning(prediction)
                predictions = [from_row(row) for row in await connection.execute(removal)]
                # They may say something of these people; their keys stay, so that nothing is stored twice.
                await connection.execute(update(kept_answer).where(kept_answer.c.body.is_not(None)).values(body=None))
                removed = Removed(predictions=len(predictions), **counts)
                days = {(item.model_version, item.created_at.astimezone(UTC).date()) for item in predictions}
                kept = tuple_(day_evidence.c.model_version, day_evidence.c.day)
                await connection.execute(delete(day_evidence).where(kept.in_(days)))
                # Last, because others wait from here on.
                await self._counter.subtract(connection, predictions)
                await remember(connection, audit(removed))
        return removed


async def _attached(
    connection: AsyncConnection,
    table: Table,
    ids: Sequence[UUID],
    order: Any,  # noqa: ANN401 - of one column
) -> dict[UUID, list[Row[Any]]]:
    statement = select(table).where(table.c.prediction_id == func.any(ids)).order_by(order)
    rows: defaultdict[UUID, list[Row[Any]]] = defaultdict(list)
    for row in await connection.execute(statement):
        rows[row.prediction_id].append(row)
    return rows
