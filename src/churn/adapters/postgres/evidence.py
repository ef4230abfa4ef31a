"""What is known of predictions, by month and model version, from PostgreSQL.

What is known of a day is kept, and read again only when it has changed. Whoever stores or removes predictions, or says
what became of one, writes a row of `traffic_count` of that day in the same transaction; so the transactions that wrote
these rows last, which PostgreSQL tells, are a stamp of all that is known of the day.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import batched
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import day_evidence
from churn.domain.outcome import horizon_end
from churn.domain.performance import SCORE_BINS, Cohort
from churn.domain.prediction import RISKS

#: Of a group: its risk, as a position in `RISKS`; its bin; how many there are, and the sum of their probabilities.
_SCORE: Final = np.dtype([("risk", "u1"), ("bin", "<u2"), ("count", "<i8"), ("total", "<f8")])
#: Of a prediction whose outcome says something, as `churn.domain.outcome.status` has it.
_DECIDED: Final = np.dtype([("risk", "u1"), ("left", "?"), ("probability", "<f8")])
_POSITIONS: Final = {risk.value: position for position, risk in enumerate(RISKS)}
#: Days that are read at once, so that no statement takes longer than one may.
_MOST_DAYS: Final = 31
#: Of days remembered in this process, and nearly as many of the cohorts that they make up: beyond, whatever is kept is
#: read from the database each time.
_MOST_BYTES: Final = 16 * 2**20

_STAMP: Final = (
    "SELECT model_version, day,"
    " sha256(convert_to(string_agg(writer::text || traffic_count.xmin::text, ' ' ORDER BY writer), 'UTF8')) AS stamp"
    " FROM traffic_count"
)
_STAMPS: Final = text(
    f"{_STAMP} WHERE day >= :since AND day < :until AND (CAST(:version AS text) IS NULL OR model_version = :version)"
    " GROUP BY model_version, day"
)
_KEPT: Final = text(
    "SELECT model_version, day, stamp, scores, decided FROM day_evidence"
    " JOIN unnest(CAST(:versions AS text[]), CAST(:days AS date[]), CAST(:stamps AS bytea[]))"
    " AS wanted (model_version, day, stamp) USING (model_version, day, stamp) WHERE months = :months"
)
_STALE: Final = "unnest(CAST(:versions AS text[]), CAST(:days AS date[])) AS stale (model_version, day)"
_STAMPS_NOW: Final = text(f"{_STAMP} JOIN {_STALE} USING (model_version, day) GROUP BY model_version, day")
# Between the first and the last of these days, so that an index finds them.
_THEIRS: Final = (
    f"prediction JOIN {_STALE} ON prediction.model_version = stale.model_version"
    " AND (created_at AT TIME ZONE 'UTC')::date = stale.day"
)
_THEN: Final = "created_at >= :first AND created_at < :end"
_SCORES: Final = text(
    "SELECT stale.model_version, stale.day, risk,"  # noqa: S608
    f" width_bucket(probability, 0, 1, {SCORE_BINS}) AS bin, count(*) AS count, sum(probability) AS total"
    f" FROM {_THEIRS} WHERE {_THEN} GROUP BY stale.model_version, stale.day, risk, bin"
)
# The day of `churn.domain.outcome.horizon_end`.
_END: Final = "(stale.day + make_interval(months => :months))::date"
_OUTCOMES: Final = text(
    f'SELECT stale.model_version, stale.day, risk, "left" AND observed_on <= {_END} AS "left", probability'  # noqa: S608
    f' FROM {_THEIRS} JOIN LATERAL (SELECT "left", observed_on FROM outcome WHERE prediction_id = prediction.id'
    " ORDER BY number DESC LIMIT 1) AS newest ON true"
    f' WHERE {_THEN} AND (observed_on >= {_END} OR ("left" AND observed_on <= {_END})) ORDER BY prediction.id'
)
# From the newest one back, which an index has in this order, until one that counts.
_OBSERVED_UNTIL: Final = text(
    'SELECT observed_on FROM outcome WHERE NOT "left" AND NOT EXISTS (SELECT FROM outcome AS newer'
    " WHERE newer.prediction_id = outcome.prediction_id AND newer.number > outcome.number)"
    " ORDER BY observed_on DESC LIMIT 1"
)


class _Day(Struct, frozen=True, kw_only=True):
    """What is known of the predictions that one version made on one day."""

    stamp: bytes
    scores: bytes
    """Of `_SCORE`."""
    decided: bytes
    """Of `_DECIDED`."""


type _Days = dict[tuple[str, date, int], _Day]
"""By version, day and months of the horizon."""


class _Month(Struct, frozen=True, kw_only=True):
    """A cohort, and what it was made of: as long as that is the same, so is the cohort."""

    stamps: Sequence[tuple[date, bytes]]
    passed: int
    cohort: Cohort


class PostgresEvidence:
    """Fills the port `Evidence`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # Of the last reports, so that they need not come from the database each time.
        self._days: _Days = {}
        self._months: dict[tuple[date, str, int], _Month] = {}

    async def observed_until(self) -> date | None:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                day: date | None = (await connection.execute(_OBSERVED_UNTIL)).scalar_one_or_none()
        return day

    async def cohorts(
        self, *, since: date, until: date, model_version: str | None, observed_until: date, months: int
    ) -> Sequence[Cohort]:
        """See the port."""
        parameters = {"since": since, "until": until, "version": model_version, "months": months}
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(_STAMPS, parameters)).all()
                stamps: dict[tuple[str, date, int], bytes] = {
                    (row.model_version, row.day, months): row.stamp for row in rows
                }
                days = {key: day for key, day in self._days.items() if stamps.get(key) == day.stamp}
                if unknown := {key: stamp for key, stamp in stamps.items() if key not in days}:
                    days |= await _kept(connection, unknown, months)
            stale = sorted((day, version) for version, day, _ in stamps.keys() - days.keys())
            for some in batched(stale, _MOST_DAYS, strict=False):
                days |= await self._renew(some, months, newest=max(row.day for row in rows))
        members: defaultdict[tuple[date, str], list[tuple[date, _Day]]] = defaultdict(list)
        for (version, day, _), known in sorted(days.items()):
            if known.scores:
                members[day.replace(day=1), version].append((day, known))
        cohorts = [self._cohort(*key, members[key], observed_until, months) for key in sorted(members)]
        self._remember(days)
        return cohorts

    def _cohort(
        self, month: date, version: str, days: Sequence[tuple[date, _Day]], observed_until: date, months: int
    ) -> Cohort:
        stamps = [(day, known.stamp) for day, known in days]
        passed = bisect_right(days, observed_until, key=lambda item: _end(item[0], months))
        last = self._months.get((month, version, months))
        if last is not None and (last.stamps, last.passed) == (stamps, passed):
            return last.cohort
        cohort = _joined(month, version, [known for _, known in days], passed)
        self._months[month, version, months] = _Month(stamps=stamps, passed=passed, cohort=cohort)
        return cohort

    async def _renew(self, stale: Sequence[tuple[date, str]], months: int, *, newest: date) -> _Days:
        """Read what is known of these days, in order, and versions, and keep it.

        Except of the `newest` day of all, of which the next prediction would make it out of date.
        """
        parameters = {
            "versions": [version for _, version in stale],
            "days": [day for day, _ in stale],
            "first": _midnight(stale[0][0]),
            "end": _midnight(stale[-1][0]) + timedelta(days=1),
            "months": months,
        }
        async with self._engine.connect() as connection:
            # Stamps and rows of one moment.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            stamps = (await connection.execute(_STAMPS_NOW, parameters)).all()
            scores = _by_day(await connection.execute(_SCORES, parameters))
            outcomes = _by_day(await connection.execute(_OUTCOMES, parameters))
        renewed = [
            {
                "model_version": row.model_version,
                "day": row.day,
                "months": months,
                "stamp": row.stamp,
                "scores": np.array(scores[row.model_version, row.day], dtype=_SCORE).tobytes(),
                "decided": np.array(outcomes[row.model_version, row.day], dtype=_DECIDED).tobytes(),
            }
            for row in stamps
        ]
        # Of two who renew one day at once the later one is kept, which does no harm: its stamp goes with it.
        statement = insert(day_evidence)
        statement = statement.on_conflict_do_update(
            index_elements=day_evidence.primary_key,
            set_={name: statement.excluded[name] for name in ("months", "stamp", "scores", "decided")},
        )
        if kept := [row for row in renewed if row["day"] != newest]:
            async with self._engine.begin() as connection:
                await connection.execute(statement, kept)
        return {
            (row["model_version"], row["day"], months): _Day(
                stamp=row["stamp"], scores=row["scores"], decided=row["decided"]
            )
            for row in renewed
        }

    def _remember(self, days: _Days) -> None:
        self._days = self._days | days
        if sum(len(day.scores) + len(day.decided) for day in self._days.values()) > _MOST_BYTES:
            self._days, self._months = {}, {}


async def _kept(connection: AsyncConnection, stamps: dict[tuple[str, date, int], bytes], months: int) -> _Days:
    """Those of these days that are kept under these stamps."""
    parameters = {
        "versions": [version for version, _, _ in stamps],
        "days": [day for _, day, _ in stamps],
        "stamps": list(stamps.values()),
        "months": months,
    }
    return {
        (row.model_version, row.day, months): _Day(stamp=row.stamp, scores=row.scores, decided=row.decided)
        for row in await connection.execute(_KEPT, parameters)
    }


def _by_day(rows: Iterable[Sequence[Any]]) -> defaultdict[tuple[str, date], list[tuple[Any, ...]]]:
    """The rest of each row, its risk as a position, by version and day."""
    days: defaultdict[tuple[str, date], list[tuple[Any, ...]]] = defaultdict(list)
    for version, day, risk, *rest in rows:
        days[version, day].append((_POSITIONS[risk], *rest))
    return days


def _joined(month: date, version: str, days: Sequence[_Day], passed: int) -> Cohort:
    """The cohort of `days`, in order, of which the horizon of the first `passed` has passed."""
    scores = _array([day.scores for day in days], _SCORE)
    resolved = _array([day.decided for day in days[:passed]], _DECIDED)
    # One group for each bin and risk, as for each day.
    group = scores["bin"].astype(np.intp) * len(RISKS) + scores["risk"]
    count, total = (np.bincount(group, weights=scores[name]) for name in ("count", "total"))
    groups = np.flatnonzero(count)
    return Cohort(
        month=month,
        model_version=version,
        risk=(groups % len(RISKS)).astype(np.uint8),
        count=count[groups].astype(np.int64),
        probability=total[groups] / count[groups],
        pending=int(_array([day.scores for day in days[passed:]], _SCORE)["count"].sum()),
        left_early=int(_array([day.decided for day in days[passed:]], _DECIDED)["left"].sum()),
        resolved_risk=resolved["risk"],
        resolved_probability=resolved["probability"],
        resolved_left=resolved["left"],
    )


def _array(parts: Sequence[bytes], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(parts), dtype=dtype)


def _end(day: date, months: int) -> date:
    return horizon_end(_midnight(day), months=months)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
