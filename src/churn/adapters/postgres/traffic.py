"""Counts of the predictions in PostgreSQL, kept in the very transactions that store and delete them.

Whoever changes the history adds to the counts: what is stored with a plus, what is deleted with a minus. Sums do not
mind in which order that happens, so nobody has to wait for anybody, and a count is right whenever it is read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import numpy as np
import structlog
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import prediction, traffic_count
from churn.domain.employee import Employee
from churn.domain.errors import ModelUnavailable
from churn.domain.traffic import Binning, Counts
from churn.ports import ModelCatalogue

#: Takes `Additions.parameters`. In one order, so that no two who add to the same rows wait for each other.
ADD: Final = """
INSERT INTO traffic_count (model_version, day, writer, counts)
SELECT model_version, day, $1::uuid, counts::integer[]
FROM unnest($2::text[], $3::date[], $4::text[]) AS added (model_version, day, counts)
ORDER BY model_version, day
ON CONFLICT (model_version, day, writer) DO UPDATE
SET counts = ARRAY(SELECT a + b FROM unnest(traffic_count.counts, excluded.counts) AS pair (a, b))
"""
#: Of what is no process's own: deletions, corrections and long transactions, which wait for one another here rather
#: than keep a process from answering.
SHARED_WRITER: Final = UUID(int=0)
#: Keeps two rebuilds from correcting the same mistake twice.
_REBUILD_LOCK: Final = 0x636875726E
_DAY: Final = timedelta(days=1)

_POSITIONS: Final = {column.name: position for position, column in enumerate(prediction.columns)}
_CREATED_AT: Final = _POSITIONS["created_at"]
_VERSION: Final = _POSITIONS["model_version"]
_REFERENCE: Final = _POSITIONS["employee_ref"]
_PROBABILITY: Final = _POSITIONS["probability"]
_FEATURES: Final = [name for name in Employee.__struct_fields__ if name != "employee_ref"]
_AGE: Final = _POSITIONS[_FEATURES[0]]
_VALUES: Final = slice(_AGE, _AGE + len(_FEATURES))

#: Counts by the database what `Binning.count` counts: each row is in one bin of each column. `width_bucket` is the
#: number of edges that are smaller than or equal to the value, as in a `Histogram`.
_RECOUNT: Final = """
SELECT position, count(*)
FROM prediction CROSS JOIN LATERAL (VALUES (0), (CASE WHEN employee_ref IS NULL THEN 1 END), {bins}) AS bin (position)
WHERE model_version = $1 AND created_at >= $2 AND created_at < $3 AND position IS NOT NULL
GROUP BY position
"""

type Row = Sequence[Any]
"""The values of a row of `prediction`, in the order of its columns."""

log = structlog.get_logger()


class Additions(Struct, frozen=True):
    """What a transaction adds to the counts."""

    versions: list[str]
    days: list[date]
    counts: list[Counts]

    def parameters(self, writer: UUID) -> tuple[UUID, list[str], list[date], list[str]]:
        """Those of `ADD`."""
        # As text, because arrays of different lengths are no matrix.
        literals = ["{" + ",".join(map(str, counts.tolist())) + "}" for counts in self.counts]
        return writer, self.versions, self.days, literals


class TrafficCounter:
    """Counts rows of the history, each by the bins of the model that scored it."""

    def __init__(self, catalogue: ModelCatalogue) -> None:
        self._catalogue = catalogue
        self._binnings: dict[str, Binning | None] = {}
        self.writer = uuid4()
        """This process's own."""

    async def count(self, rows: Sequence[Row], *, sign: int = 1) -> Additions:
        """What `rows` add to the counts, or with a `sign` of -1 take away.

        Rows of a version whose manifest cannot be read are left out: a rebuild counts them when it can.
        """
        groups: defaultdict[tuple[str, date], list[Row]] = defaultdict(list)
        for row in rows:
            groups[row[_VERSION], row[_CREATED_AT].date()].append(row)
        additions = Additions([], [], [])
        for (version, day), group in groups.items():
            binning = self._binnings[version] if version in self._binnings else await self._read(version)
            if binning is not None:
                counts = binning.count(
                    [(*row[_VALUES], row[_PROBABILITY]) for row in group],
                    without_reference=sum(row[_REFERENCE] is None for row in group),
                )
                additions.versions.append(version)
                additions.days.append(day)
                additions.counts.append(sign * counts)
        return additions

    async def subtract(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Take `rows`, which the transaction of `connection` has deleted (`RETURNING` all columns), out of the counts.

        Call it last: others who delete wait from here to the end of the transaction.
        """
        await connection.exec_driver_sql(ADD, (await self.count(rows, sign=-1)).parameters(SHARED_WRITER))

    async def _read(self, version: str) -> Binning | None:
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
        statement = select(prediction.c.model_version.distinct().label("version"))
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
        corrected = []
        with storage_errors():
            async with self._engine.connect() as lock:
                await lock.execute(select(func.pg_advisory_lock(_REBUILD_LOCK)))
                # The lock is the session's: no transaction stays open meanwhile.
                await lock.commit()
                try:
                    for day in await self._days(binning.version):
                        if await self._correct(binning, day):
                            corrected.append(day)
                finally:
                    await lock.execute(select(func.pg_advisory_unlock(_REBUILD_LOCK)))
                    await lock.commit()
        return corrected

    async def _days(self, version: str) -> Sequence[date]:
        """Every day that has, or should have, a count."""
        ends = select(func.min(prediction.c.created_at), func.max(prediction.c.created_at))
        counted = select(traffic_count.c.day.distinct()).where(traffic_count.c.model_version == version)
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
        additions = Additions([binning.version], [day], [actual - recorded])
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql(ADD, additions.parameters(SHARED_WRITER))
        return True


async def _recorded(connection: AsyncConnection, binning: Binning, since: date, until: date) -> dict[date, Counts]:
    statement = select(traffic_count.c.day, traffic_count.c.counts).where(
        traffic_count.c.model_version == binning.version, traffic_count.c.day >= since, traffic_count.c.day < until
    )
    days: defaultdict[date, Counts] = defaultdict(binning.none)
    for day, counts in (await connection.execute(statement)).all():
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
    for position, count in (await connection.exec_driver_sql(_RECOUNT.format(bins=bins), parameters)).all():
        counts[position] = count
    return counts
