"""Was the model right?"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final

from msgspec import UNSET

from churn.domain.errors import EmptyPeriod
from churn.domain.performance import Cohort, Estimated, Judge, PerformanceReport, Realised, report_performance
from churn.ports import Clock, Evidence, ReviewLog

#: Months of predictions that are looked at beside those whose horizon has not passed.
_MONTHS: Final = 12
#: Judgements that are remembered, of some hundred bytes each: far more than are in one report.
_REMEMBERED: Final = 1024


class ReportPerformance:
    """Holds predictions against what became of the people."""

    def __init__(self, *, evidence: Evidence, reviews: ReviewLog, clock: Clock, horizon: int) -> None:
        """`horizon` is in calendar months."""
        self._evidence = evidence
        self._reviews = reviews
        self._clock = clock
        self._horizon = horizon
        self._judge = RememberingJudge()

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
        cohorts, reviews = await asyncio.gather(
            self._evidence.cohorts(
                since=since,
                until=until,
                model_version=model_version,
                observed_until=observed_until or date.min,
                months=self._horizon,
            ),
            self._reviews.rates(since=since, until=until),
        )
        report = partial(
            report_performance,
            since=since,
            until=until,
            as_of=today,
            observed_until=observed_until,
            horizon_months=self._horizon,
            judge=self._judge,
        )
        # Draws outcomes by the million, which would hold up every request of this process.
        return await asyncio.to_thread(report, cohorts, reviews)


class RememberingJudge(Judge):
    """Does not judge again what it has judged already.

    A month that is over is judged anew when an outcome comes, or somebody is erased, and else never.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Realised | None] = {}
        self._made: dict[bytes, Estimated] = {}

    def realised(self, cohorts: Sequence[Cohort]) -> Realised | None:
        """See `Judge`."""
        key = b"".join(cohort.known for cohort in cohorts)
        return _remembered(self._known, key, lambda: super(RememberingJudge, self).realised(cohorts))

    def estimated(self, cohorts: Sequence[Cohort]) -> Estimated:
        """See `Judge`."""
        key = b"".join(cohort.made for cohort in cohorts)
        return _remembered(self._made, key, lambda: super(RememberingJudge, self).estimated(cohorts))


def _remembered[T](values: dict[bytes, T], key: bytes, find: Callable[[], T]) -> T:
    # Several threads may be here: of two that find the same, either may be remembered.
    if (value := values.get(key, UNSET)) is not UNSET:
        return value
    if len(values) >= _REMEMBERED:
        values.clear()
    values[key] = found = find()
    return found


def _months_before(day: date, months: int) -> date:
    """The first day of the month so long before, or the first of all days."""
    number = day.year * 12 + day.month - 1 - months
    return date.min if number < 12 else date(number // 12, number % 12 + 1, 1)  # noqa: PLR2004 - months of the year 0
