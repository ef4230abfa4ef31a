"""Must somebody be told?"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from churn.domain.alert import Alert, Finding, drift_finding, next_alert, performance_finding
from churn.domain.drift import DriftReport
from churn.domain.errors import AlertConflict, NotDelivered
from churn.domain.performance import Performance
from churn.ports import AlertLog, Clock, ModelCatalogue, Notifier
from churn.use_cases.report_drift import ReportDrift
from churn.use_cases.report_performance import ReportPerformance

#: How long whoever recorded an alert has to deliver it before others may try.
_PATIENCE: Final = timedelta(minutes=2)


class Check(Struct, frozen=True, kw_only=True):
    """How the model that answers stands."""

    drift: DriftReport
    performance: Performance | None
    """Of all its predictions that the report looks at; None when there is none."""
    findings: tuple[Finding, ...]


class CheckModel:
    """Reads both reports on the version that answers, and says what they amount to."""

    def __init__(
        self, *, report_drift: ReportDrift, report_performance: ReportPerformance, catalogue: ModelCatalogue
    ) -> None:
        self._report_drift = report_drift
        self._report_performance = report_performance
        self._catalogue = catalogue

    async def __call__(self) -> Check:
        """The check.

        Raises:
            Unavailable: no version is active, its manifest is not here, or the database does not answer.
        """
        drift = await self._report_drift()
        manifest = await self._catalogue.manifest(drift.model_version)
        report = await self._report_performance(model_version=drift.model_version)
        performance = next(iter(report.versions), None)
        return Check(
            drift=drift,
            performance=performance,
            findings=(drift_finding(drift), performance_finding(report, manifest)),
        )


class RaiseAlerts:
    """Tells of what has changed, once, whichever process notices."""

    def __init__(self, *, alerts: AlertLog, notifier: Notifier, clock: Clock) -> None:
        self._alerts = alerts
        self._notifier = notifier
        self._clock = clock

    async def __call__(self, findings: Sequence[Finding]) -> Sequence[Alert]:
        """What was told now. What could not be delivered is tried again at the next call.

        Raises:
            NotDelivered: an alert could not be delivered; the others were.
            StorageUnavailable: the database did not answer; nothing is lost.
        """
        told, failure = [], None
        for finding in findings:
            try:
                alert = await self._pending(finding)
                if alert is not None:
                    await self._notifier.send(alert)
                    now = self._clock.now()
                    await self._alerts.confirm(alert, delivered_at=now)
                    told.append(replace(alert, delivered_at=now))
            except NotDelivered as error:
                failure = error
        if failure is not None:
            raise failure
        return told

    async def _pending(self, finding: Finding) -> Alert | None:
        """What is to be told of the finding's subject."""
        now = self._clock.now()
        last = await self._alerts.last(finding.subject)
        alert = next_alert(last, finding, at=now)
        if alert is not None:
            try:
                await self._alerts.append(alert)
            except AlertConflict:  # whoever was first tells
                return None
            return alert
        if last is not None and last.delivered_at is None and now - last.at >= _PATIENCE:
            return last
        return None
