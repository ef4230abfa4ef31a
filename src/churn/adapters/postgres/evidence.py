"""What is known of predictions, by month and model version, from PostgreSQL."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

import numpy as np
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.domain.performance import SCORE_BINS, Cohort
from churn.domain.prediction import Risk

# The days of `churn.domain.outcome`: the last one on which leaving counts, and whether it has passed.
_END: Final = "((prediction.created_at AT TIME ZONE 'UTC')::date + make_interval(months => :months))::date"
_CHOSEN: Final = (
    "prediction.created_at >= :since AND prediction.created_at < :until"
    " AND (CAST(:version AS text) IS NULL OR prediction.model_version = :version)"
)
_MONTH: Final = "date_trunc('month', prediction.created_at AT TIME ZONE 'UTC')::date"
#: Every prediction, by its score to half a hundredth.
_SCORES: Final = text(
    f"SELECT {_MONTH} AS month, model_version, risk,"  # noqa: S608 - our own words
    " sum(probability) / count(*) AS probability, count(*) AS predictions,"
    f" count(*) FILTER (WHERE {_END} > :observed_until) AS pending "
    f"FROM prediction WHERE {_CHOSEN} "
    f"GROUP BY month, model_version, risk, width_bucket(probability, 0, 1, {SCORE_BINS}) "
    'ORDER BY month, model_version COLLATE "C", probability'
)
#: Those whose outcome says something, as `churn.domain.outcome.status` has it.
_OUTCOMES: Final = text(
    f"SELECT {_MONTH} AS month, model_version, risk, probability, {_END} > :observed_until AS pending,"  # noqa: S608
    f' "left" AND observed_on <= {_END} AS "left" '
    'FROM prediction JOIN (SELECT DISTINCT ON (prediction_id) prediction_id, "left", observed_on FROM outcome'
    " ORDER BY prediction_id, number DESC) AS newest ON newest.prediction_id = prediction.id "
    f'WHERE {_CHOSEN} AND (observed_on >= {_END} OR ("left" AND observed_on <= {_END})) '
    "ORDER BY prediction.id"
)
_OBSERVED_UNTIL: Final = text(
    'SELECT max(observed_on) FROM (SELECT DISTINCT ON (prediction_id) "left", observed_on FROM outcome'
    ' ORDER BY prediction_id, number DESC) AS newest WHERE NOT "left"'
)


class PostgresEvidence:
    """Fills the port `Evidence`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def observed_until(self) -> date | None:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                day: date | None = (await connection.execute(_OBSERVED_UNTIL)).scalar_one()
        return day

    async def cohorts(
        self, *, since: date, until: date, model_version: str | None, observed_until: date, months: int
    ) -> Sequence[Cohort]:
        """See the port."""
        parameters = {
            "since": datetime.combine(since, time.min, UTC),
            "until": datetime.combine(until, time.min, UTC),
            "version": model_version,
            "observed_until": observed_until,
            "months": months,
        }
        with storage_errors():
            async with self._engine.connect() as connection:
                # Both of one moment.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                scores = (await connection.execute(_SCORES, parameters)).all()
                outcomes = (await connection.execute(_OUTCOMES, parameters)).all()
        groups: defaultdict[tuple[date, str], tuple[list[Row[Any]], list[Row[Any]]]] = defaultdict(lambda: ([], []))
        for row in scores:
            groups[row.month, row.model_version][0].append(row)
        for row in outcomes:
            groups[row.month, row.model_version][1].append(row)
        return [_cohort(month, version, *rows) for (month, version), rows in groups.items()]


def _cohort(month: date, version: str, scores: Sequence[Row[Any]], outcomes: Sequence[Row[Any]]) -> Cohort:
    resolved = [row for row in outcomes if not row.pending]
    return Cohort(
        month=month,
        model_version=version,
        risk=tuple(Risk(row.risk) for row in scores),
        count=np.array([row.predictions for row in scores], dtype=np.int64),
        probability=np.array([row.probability for row in scores], dtype=np.float64),
        pending=sum(row.pending for row in scores),
        left_early=sum(row.pending and row.left for row in outcomes),
        resolved_risk=tuple(Risk(row.risk) for row in resolved),
        resolved_probability=np.array([row.probability for row in resolved], dtype=np.float64),
        resolved_left=np.array([row.left for row in resolved], dtype=np.bool_),
    )
