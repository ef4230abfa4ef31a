"""Counts of the predictions in PostgreSQL, kept in the very transactions that store and delete them.

Whoever changes the history adds to the counts: what is stored with a plus, what is deleted with a minus. Sums do not
mind in which order that happens, so nobody has to wait for anybody, and a count is right whenever it is read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
import structlog
from msgspec import UNSET
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import prediction as table
from churn.adapters.postgres.tables import traffic_count
from churn.domain.employee import Employee
from churn.domain.errors import ModelUnavailable
from churn.domain.prediction import Prediction
from churn.domain.predictions import Predictions
from churn.domain.traffic import Binning, Counts
from churn.ports import ModelCatalogue

#: Of what is no process's own: deletions, corrections and long transactions, which wait for one another here rather
#: than keep a process from answering.
SHARED_WRITER: Final = UUID(int=0)
#: Keeps two rebuilds from correcting the same mistake twice.
_REBUILD_LOCK: Final = 0x636875726E
_DAY: Final = timedelta(days=1)

#: Columns of `prediction`, in the order of `FEATURES`.
_FEATURES: Final = [name for name in Employee.__struct_fields__ if name != "employee_ref"]

#: Counts by the database what `Binning.count` counts: each row is in one bin of each column. `width_bucket` is the
#: number of edges that are smaller than or equal to the value, as in a `Histogram`.
_RECOUNT: Final = """
SELECT position, count(*) AS predictions
FROM prediction CROSS JOIN LATERAL (VALUES (0), (CASE WHEN employee_ref IS NULL THEN 1 END), {bins}) AS bin (position)
WHERE model_version = $1 AND created_at >= $2 AND created_at < $3 AND position IS NOT NULL
GROUP BY position
"""

#: Says of what days something has changed that is not counted.
_TOUCH: Final = text("""
INSERT INTO traffic_count (model_version, day, writer, counts)
SELECT DISTINCT model_version, (created_at AT TIME ZONE 'UTC')::date, CAST(:writer AS uuid), '{}'::integer[]
FROM prediction WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY 1, 2
ON CONFLICT (model_version, day, writer) DO UPDATE SET counts = traffic_count.counts
""")
_NOTHING: Final = np.zeros(0, dtype=np.int64)

log = structlog.get_logger()


def add_statement(first: int = 1) -> str:
    """A statement that takes `Additions.parameters` from the parameter number `first` on."""
    writer, versions, days, counts = (f"${first + n}" for n in range(4))
    # In one order, so that no two who add to the same rows wait for each other.
    return f"""
        INSERT INTO traffic_count (model_version, day, writer, counts)
        SELECT model_version, day, {writer}::uuid, counts::integer[]
        FROM unnest({versions}::text[], {days}::date[], {counts}::text[]) AS added (model_version, day, counts)
        ORDER BY model_version, day
        ON CONFLICT (model_version, day, writer) DO UPDATE
        SET counts = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
                           FROM unnest(traffic_count.counts, excluded.counts) AS pair (a, b))
    """  # noqa: S608 - parameter numbers


async def touch(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Tell that something else is known of these predictions now, of which `PostgresEvidence` keeps what it was.

    Call it last: others who do wait from here to the end of the transaction.
    """
    await connection.execute(_TOUCH, {"writer": SHARED_WRITER, "ids": ids})


async def period_of(connection: AsyncConnection, version: str) -> tuple[datetime, datetime]:
    """The first day on which that version made predictions, and the end of the last; empty if it made none."""
    counted = traffic_count.c.model_version == version
    ends = select(func.min(traffic_count.c.day), func.max(traffic_count.c.day)).where(counted)
    first, last = (await connection.execute(ends)).one()
    if first is None:
        return (datetime.min.replace(tzinfo=UTC),) * 2
    return datetime.combine(first, time.min, UTC), datetime.combine(last, time.min, UTC) + _DAY


class Additions:
    """What a transaction adds to the counts."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, date], Counts] = {}

    def add(self, version: str, day: date, counts: Counts) -> None:
        """Add `counts` to those of that version and day."""
        self._counts[version, day] = self._counts[version, day] + counts if (version, day) in self._counts else counts

    def update(self, other: "Additions") -> None:
        """Add all of `other`."""
        for (version, day), counts in other._counts.items():
            self.add(version, day, counts)

    def parameters(self, writer: UUID, *, sign: int = 1) -> tuple[UUID, list[str], list[date], list[str]]:
        """Those of `add_statement`; a `sign` of -1 takes away."""
        # As text, because arrays of different lengths are no matrix; [1,2] in JSON is {1,2} in SQL.
        texts = [msgspec.json.encode((sign * counts).tolist()).decode() for counts in self._counts.values()]
        literals = [f"{{{text[1:-1]}}}" for text in texts]
        return writer, [version for version, _ in self._counts], [day for _, day in self._counts], literals


class TrafficCounter:
    """Counts predictions, each by the bins of the model that made it."""

    def __init__(self, catalogue: ModelCatalogue) -> None:
        self._catalogue = catalogue
        self._binnings: dict[str, Binning | None] = {}

    async def count(self, predictions: Sequence[Prediction]) -> Additions:
        """What storing `predictions` adds to the counts.

        Those of a version whose manifest cannot be read are left out: a rebuild counts them when it can. That there
        was something to count is told all the same, by no counts at all.
        """
        groups: defaultdict[tuple[str, date], list[Prediction]] = defaultdict(list)
        for prediction in predictions:
            groups[prediction.model_version, prediction.created_at.date()].append(prediction)
        additions = Additions()
        for (version, day), group in groups.items():
            binning = await self._binning(version)
            counts = (
                _NOTHING
                if binning is None
                else binning.count(
                    [(*prediction.employee.features(), prediction.score.probability) for prediction in group],
                    without_reference=sum(prediction.employee.employee_ref is UNSET for prediction in group),
                )
            )
            additions.add(version, day, counts)
        return additions

    async def count_together(self, predictions: Predictions) -> Additions:
        """The same of predictions in columns."""
        binning = await self._binning(predictions.model_version)
        refs = predictions.employees.refs
        counts = (
            _NOTHING
            if binning is None
            else binning.count(
                np.column_stack([predictions.employees.features, predictions.scores.probability]),
                without_reference=len(predictions) if refs is None else refs.count(None),
            )
        )
        additions = Additions()
        additions.add(predictions.model_version, predictions.created_at.date(), counts)
        return additions

    async def subtract(self, connection: AsyncConnection, predictions: Sequence[Prediction]) -> None:
        """Take `predictions`, which the transaction of `connection` has deleted, out of the counts.

        Call it last: others who delete wait from here to the end of the transaction.
        """
        additions = await self.count(predictions)
        await connection.exec_driver_sql(add_statement(), additions.parameters(SHARED_WRITER, sign=-1))

    async def _binning(self, version: str) -> Binning | None:
        if version in self._binnings:
            return self._binnings[version]
        try:
            binning = Binning(await self._catalogue.manifest(version))
        except ModelUnavailable:
            log.warning("predictions are not counted: their model's manifest cannot be read", version=version)
            binning = None
        self._binnings[version] = binning
        return binning


class PostgresTrafficCounts:
    """Fills the port `TrafficCounts`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def versions(self) -> Sequence[str]:
        """See the port."""
        statement = select(table.c.model_version).distinct()
        with storage_errors():
            async with self._engine.connect() as connection:
                return sorted((await connection.execute(statement)).scalars())

    async def by_day(self, binning: Binning, *, since: date, until: date) -> Mapping[date, Counts]:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                return await _recorded(connection, binning, since, until)

    async def rebuild(self, binning: Binning) -> Sequence[date]:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as lock:
                await lock.execute(select(func.pg_advisory_lock(_REBUILD_LOCK)))
                # The lock is the session's: no transaction stays open meanwhile.
                await lock.commit()
                try:
                    days = await self._days(binning.version)
                    return [day for day in days if await self._correct(binning, day)]
                finally:
                    await lock.execute(select(func.pg_advisory_unlock(_REBUILD_LOCK)))
                    await lock.commit()

    async def _days(self, version: str) -> Sequence[date]:
        """Every day that has, or should have, a count."""
        ends = select(func.min(table.c.created_at), func.max(table.c.created_at))
        counted = select(traffic_count.c.day).where(traffic_count.c.model_version == version).distinct()
        async with self._engine.connect() as connection:
            days = set((await connection.execute(counted)).scalars())
            first, last = (await connection.execute(ends)).one()
        if first is not None:
            days.update(first.date() + n * _DAY for n in range((last.date() - first.date()).days + 1))
        return sorted(days)

    async def _correct(self, binning: Binning, day: date) -> bool:
        """Add to the counts of `day` what they lack, and tell whether they lacked anything.

        Counts and rows are compared as of one moment. Whatever is stored or deleted later changes both alike, so the
        difference is still right when it is added, and nobody has to wait.
        """
        async with self._engine.connect() as snapshot:
            await snapshot.execution_options(isolation_level="REPEATABLE READ")
            recorded = (await _recorded(snapshot, binning, day, day + _DAY)).get(day, binning.none())
            actual = await _recount(snapshot, binning, day)
        if (recorded == actual).all():
            return False
        missing = Additions()
        missing.add(binning.version, day, actual - recorded)
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql(add_statement(), missing.parameters(SHARED_WRITER))
        return True


async def _recorded(connection: AsyncConnection, binning: Binning, since: date, until: date) -> dict[date, Counts]:
    statement = select(traffic_count.c.day, traffic_count.c.counts).where(
        traffic_count.c.model_version == binning.version, traffic_count.c.day >= since, traffic_count.c.day < until
    )
    days: defaultdict[date, Counts] = defaultdict(binning.none)
    for day, counts in (await connection.execute(statement)).all():
        if counts:
            days[day] += np.array(counts, dtype=np.int64)
    return dict(days)


async def _recount(connection: AsyncConnection, binning: Binning, day: date) -> Counts:
    names = [f"{name}::integer" if name == "overtime" else name for name in (*_FEATURES, "probability")]
    bins = ", ".join(
        f"({offset} + width_bucket({name}, ${n}::double precision[]))"
        for n, (name, offset) in enumerate(zip(names, binning.offsets, strict=True), start=4)
    )
    start = datetime.combine(day, time.min, UTC)
    parameters = (binning.version, start, start + _DAY, *(edges.tolist() for edges in binning.edges))
    counts = binning.none()
    for row in await connection.exec_driver_sql(_RECOUNT.format(bins=bins), parameters):
        counts[row.position] = row.predictions
    return counts
