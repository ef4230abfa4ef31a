"""Do the employees that the model is asked about still resemble those that it learnt from?"""

from datetime import date, timedelta
from typing import Final

from churn.domain.drift import DriftReport, DriftRule, report_drift
from churn.domain.errors import EmptyPeriod
from churn.domain.traffic import Binning
from churn.ports import Clock, ModelCatalogue, ModelRegistry, TrafficCounts

#: What is looked at unless somebody says otherwise: long enough for most organisations to make a hundred predictions.
PERIOD: Final = timedelta(days=30)


class ReportDrift:
    """Compares the traffic of a period with the reference of the model that scored it."""

    def __init__(
        self,
        *,
        counts: TrafficCounts,
        catalogue: ModelCatalogue,
        registry: ModelRegistry,
        clock: Clock,
        distance: float,
    ) -> None:
        """`distance` is the difference from which a column may drift."""
        self._counts = counts
        self._catalogue = catalogue
        self._registry = registry
        self._clock = clock
        self._rule = DriftRule(distance=distance)

    async def __call__(
        self, *, since: date | None = None, until: date | None = None, model_version: str | None = None
    ) -> DriftReport:
        """The report on the days (UTC) from `since` to before `until`, by default the last thirty with today.

        Without a `model_version`, on the one that answers.

        Raises:
            EmptyPeriod: there is no day from `since` to before `until`.
            UnknownModel: there is no such version here.
            Unavailable: no version is active, or the counts cannot be read.
        """
        until = until or self._clock.now().date() + timedelta(days=1)
        since = since or until - min(PERIOD, until - date.min)
        if since >= until:
            raise EmptyPeriod
        manifest = await self._catalogue.manifest(model_version or await self._active())
        days = await self._counts.by_day(Binning(manifest), since=since, until=until)
        return report_drift(manifest, days, since=since, until=until, rule=self._rule)

    async def _active(self) -> str:
        decided = await self._registry.current()
        if decided is not None and decided.version is not None:
            return decided.version
        return await self._catalogue.default()
