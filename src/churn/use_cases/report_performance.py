"""Was the model right?"""

import asyncio
from datetime import date, timedelta
from functools import partial
from typing import Final

from churn.domain.errors import EmptyPeriod
from churn.domain.performance import PerformanceReport, report_performance
from churn.ports import Clock, Evidence, ReviewLog

#: Months of predictions that are looked at beside those whose horizon has not passed.
_MONTHS: Final = 12


class ReportPerformance:
    """Holds predictions against what became of the people."""

    def __init__(self, *, evidence: Evidence, reviews: ReviewLog, clock: Clock, horizon: int) -> None:
        """`horizon` is in calendar months."""
        self._evidence = evidence
        self._reviews = reviews
        self._clock = clock
        self._horizon = horizon

    async def __call__(
        self, *, since: date | None = None, until: date | None = None, model_version: str | None = None
    ) -> PerformanceReport:
        """The report on the predictions made on the days (UTC) from `since` to before `until`, by all versions or one.

        By default until today, from the first of the month as long ago as the horizon and twelve months more.

        Raises:
            EmptyPeriod: there is no day from `since` to before `until`.
            StorageUnavailable: the history cannot be read.
        """
        today = self._clock.now().date()
        until = until or today + timedelta(days=1)
        since = since or _months_before(until, self._horizon + _MONTHS)
        if since >= until:
            raise EmptyPeriod
        observed_until = await self._evidence.observed_until()
        cohorts = await self._evidence.cohorts(
            since=since,
            until=until,
            model_version=model_version,
            observed_until=observed_until or date.min,
            months=self._horizon,
        )
        reviews = await self._reviews.rates(since=since, until=until)
        report = partial(
            report_performance,
            since=since,
            until=until,
            as_of=today,
            observed_until=observed_until,
            horizon_months=self._horizon,
        )
        # Draws outcomes by the million, which would hold up every request of this process.
        return await asyncio.to_thread(report, cohorts, reviews)


def _months_before(day: date, months: int) -> date:
    """The first day of the month so long before, or the first of all days."""
    number = day.year * 12 + day.month - 1 - months
    return date.min if number < 12 else date(number // 12, number % 12 + 1, 1)  # noqa: PLR2004 - months of the year 0
