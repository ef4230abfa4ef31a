"""When somebody is told of the model, and when not."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from churn.adapters.joblib_model.bundle import active_version, read_manifest
from churn.adapters.memory import (
    MemoryAlertLog,
    MemoryClock,
    MemoryEvidence,
    MemoryHistoryRepository,
    MemoryModelCatalogue,
    MemoryModelRegistry,
    MemoryNotifier,
    MemoryOutcomeLog,
    MemoryReviewLog,
    MemoryTrafficCounts,
)
from churn.domain.alert import Alert, Finding, State, Subject, drift_finding, next_alert, performance_finding
from churn.domain.drift import DriftRule, Verdict, report_drift
from churn.domain.errors import NotDelivered, StorageUnavailable
from churn.domain.manifest import Manifest
from churn.domain.performance import Performance, PerformanceReport, estimate, realise
from churn.domain.prediction import RISKS, Risk
from churn.ports import AlertLog
from churn.settings import Settings
from churn.use_cases.check_model import Check, CheckModel, RaiseAlerts
from churn.use_cases.report_drift import ReportDrift
from churn.use_cases.report_performance import ReportPerformance
from churn.use_cases.watch_model import WatchModel

MODELS = Path(Settings().models_dir)
MANIFEST: Manifest = read_manifest(MODELS, active_version(MODELS))[0]
AT = datetime(2026, 1, 1, tzinfo=UTC)
WELL = Finding(subject=Subject.DRIFT, state=State.OK, model_version="a")
ALARM = Finding(subject=Subject.DRIFT, state=State.ALARM, model_version="a", reasons=("age",))
UNKNOWN = Finding(subject=Subject.DRIFT, state=State.UNKNOWN, model_version="a")


# What is an alarm.


def test_a_drift_is_an_alarm_and_too_little_is_not() -> None:
    """With the drifting columns as its reasons."""
    report = report_drift(MANIFEST, {}, since=date(2026, 1, 1), until=date(2026, 2, 1), rule=DriftRule())
    assert drift_finding(report).state is State.UNKNOWN
    age = replace(report.features[0], verdict=Verdict.DRIFT)
    found = drift_finding(replace(report, verdict=Verdict.DRIFT, features=(age, *report.features[1:])))
    assert (found.state, found.reasons) == (State.ALARM, ("age",))
    assert drift_finding(replace(report, verdict=Verdict.STABLE)).state is State.OK


def performance(n: int, *, tells: float, more: float = 1.0) -> Performance:
    """Of a model whose ranking is worth `tells`, 0 to 1, and of whose employees `more` times as many leave."""
    rng = np.random.default_rng(0)
    probability = np.clip(rng.beta(1, 5, size=n), 0.01, 0.6)
    truth = tells * probability + (1 - tells) * probability.mean()
    left = rng.random(n) < np.clip(truth * more, 0, 1)
    risk = np.where(probability > 0.26, RISKS.index(Risk.HIGH), RISKS.index(Risk.LOW)).astype(np.uint8)
    return Performance(
        month=None,
        model_version=MANIFEST.version,
        predictions=n,
        pending=0,
        left_early=0,
        censored=0,
        realised=realise(probability, left, risk),
        estimated=estimate(np.ones(n, dtype=np.int64), probability, probability > 0.26),
        accepted=0,
        overridden=0,
        dismissed=0,
    )


def reported(*months: Performance) -> PerformanceReport:
    """A report on these months, oldest first, and on all of them together, which is good as long as the first is."""
    whole = months[:1] or ()
    return PerformanceReport(
        since=date(2025, 1, 1),
        until=date(2026, 1, 1),
        as_of=date(2026, 1, 1),
        observed_until=date(2026, 1, 1),
        horizon_months=12,
        versions=tuple(whole),
        months=months,
    )


@pytest.mark.parametrize(
    ("months", "state", "reasons"),
    [
        ([], State.UNKNOWN, ()),
        ([performance(99, tells=0)], State.UNKNOWN, ()),
        ([replace(performance(1500, tells=0), censored=376)], State.UNKNOWN, ()),
        ([replace(performance(1500, tells=0), censored=375)], State.ALARM, ("roc_auc",)),
        ([performance(1500, tells=1)], State.OK, ()),
        ([performance(1500, tells=0)], State.ALARM, ("roc_auc",)),
        ([performance(1500, tells=1, more=1.6)], State.ALARM, ("calibration",)),
        ([performance(1500, tells=0, more=2)], State.ALARM, ("roc_auc", "calibration")),
        ([performance(1500, tells=1), performance(400, tells=1, more=2)], State.ALARM, ("calibration",)),
        ([performance(1500, tells=1), performance(400, tells=1, more=2), performance(400, tells=1)], State.OK, ()),
        ([performance(1500, tells=1), performance(50, tells=1, more=3)], State.OK, ()),
    ],
    ids=[
        "nothing",
        "too few",
        "too many not observed",
        "few enough not observed",
        "as promised",
        "ranks at random",
        "more leave",
        "both",
        "more leave of late",
        "more left for a while",
        "too few of late",
    ],
)
def test_performance_below_the_promise_is_an_alarm(
    months: list[Performance], state: State, reasons: tuple[str, ...]
) -> None:
    """When it is beyond doubt, in the latest month or all in all, and it says in what."""
    # A manifest that promises what these simulated employees can keep.
    metrics = MANIFEST.evaluation.model
    modest = replace(metrics, roc_auc=replace(metrics.roc_auc, estimate=0.68, low=0.62, high=0.74))
    manifest = replace(MANIFEST, evaluation=replace(MANIFEST.evaluation, model=modest))
    found = performance_finding(reported(*months), manifest)
    assert (found.state, found.reasons) == (state, reasons)


def test_not_yet_resolved_is_not_known() -> None:
    """Predictions alone say nothing of performance."""
    pending = replace(performance(200, tells=1), realised=None)
    assert performance_finding(reported(pending), MANIFEST).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("before", "finding", "changed"),
    [
        (None, WELL, False),
        (None, UNKNOWN, False),
        (None, ALARM, True),
        (State.ALARM, ALARM, False),
        (State.ALARM, UNKNOWN, False),
        (State.ALARM, WELL, True),
        (State.OK, WELL, False),
        (State.OK, ALARM, True),
    ],
)
def test_only_a_change_is_an_alert(before: State | None, finding: Finding, changed: bool) -> None:
    """From well to alarm, and back; what cannot be told is neither."""
    last = None
    if before is not None:
        last = Alert(number=7, at=AT, subject=Subject.DRIFT, state=before, model_version="a", reasons=())
    alert = next_alert(last, finding, at=AT)
    assert (alert is not None) == changed
    if alert is not None:
        assert (alert.number, alert.state) == (8 if last else 1, finding.state)


# Who is told, and how often.


class Unreachable(MemoryNotifier):
    """Confirms nothing as long as it is down."""

    down = True

    async def send(self, alert: Alert) -> None:
        if self.down:
            raise NotDelivered("the line is dead")
        await super().send(alert)


async def test_a_change_is_told_once() -> None:
    """However often it is found, and by however many processes."""
    clock, alerts, notifier = MemoryClock(), MemoryAlertLog(), MemoryNotifier()
    one, other = (RaiseAlerts(alerts=alerts, notifier=notifier, clock=clock) for _ in range(2))
    for finding in (WELL, ALARM, ALARM, UNKNOWN, ALARM, WELL, WELL):
        for process in (one, other):
            await process([finding])
            clock.advance(3600)
    assert [(alert.state, alert.reasons) for alert in notifier.sent] == [(State.ALARM, ("age",)), (State.OK, ())]


async def test_subjects_are_told_apart() -> None:
    """A drift does not hide that performance has fallen."""
    alerts, notifier = MemoryAlertLog(), MemoryNotifier()
    tell = RaiseAlerts(alerts=alerts, notifier=notifier, clock=MemoryClock())
    await tell([ALARM])
    told = await tell([ALARM, replace(ALARM, subject=Subject.PERFORMANCE)])
    assert [alert.subject for alert in told] == [Subject.PERFORMANCE]
    assert len(notifier.sent) == 2


async def test_what_was_not_delivered_is_told_later() -> None:
    """Not at once, lest two processes tell of it, but by the first check after two minutes; and then no more."""
    clock, alerts, notifier = MemoryClock(), MemoryAlertLog(), Unreachable()
    tell = RaiseAlerts(alerts=alerts, notifier=notifier, clock=clock)
    other = replace(ALARM, subject=Subject.PERFORMANCE)
    with pytest.raises(NotDelivered):
        await tell([ALARM, other])
    notifier.down = False
    assert await tell([ALARM, other]) == []
    clock.advance(121)
    told = await tell([UNKNOWN, other])
    assert {alert.subject for alert in told} == {Subject.DRIFT, Subject.PERFORMANCE}
    assert await tell([ALARM, other]) == []
    assert len(notifier.sent) == 2


async def test_of_two_who_notice_at_once_one_tells() -> None:
    """Whoever records the change first."""

    class Late(MemoryAlertLog):
        async def last(self, subject: Subject) -> Alert | None:
            found = await super().last(subject)
            await asyncio.sleep(0)
            return found

    clock, alerts, notifier = MemoryClock(), Late(), MemoryNotifier()
    assert isinstance(alerts, AlertLog)
    processes = [RaiseAlerts(alerts=alerts, notifier=notifier, clock=clock) for _ in range(3)]
    await asyncio.gather(*(process([ALARM]) for process in processes))
    assert len(notifier.sent) == 1


# The watch.


def watch(
    checks: asyncio.Queue[Check], *, notifier: MemoryNotifier | None = None, interval: float = 0.001
) -> WatchModel:
    clock = MemoryClock()
    history = MemoryHistoryRepository()
    catalogue = MemoryModelCatalogue({MANIFEST.version: (MANIFEST, None)}, default=MANIFEST.version)
    check = CheckModel(
        report_drift=ReportDrift(
            counts=MemoryTrafficCounts(history),
            catalogue=catalogue,
            registry=MemoryModelRegistry(),
            clock=clock,
            distance=0.08,
        ),
        report_performance=ReportPerformance(
            evidence=MemoryEvidence(history, MemoryOutcomeLog(history)),
            reviews=MemoryReviewLog(history),
            clock=clock,
            horizon=12,
        ),
        catalogue=catalogue,
    )
    return WatchModel(
        check_model=check,
        raise_alerts=RaiseAlerts(alerts=MemoryAlertLog(), notifier=notifier or MemoryNotifier(), clock=clock),
        clock=clock,
        interval=interval,
        notify=notifier is not None,
        on_check=lambda check, _: checks.put_nowait(check),
    )


async def test_the_watch_checks_again_and_again_until_it_is_stopped() -> None:
    """Everyone who wants to know is told of each check."""
    checks: asyncio.Queue[Check] = asyncio.Queue()
    watching = watch(checks, notifier=MemoryNotifier())
    await watching.start()
    for _ in range(3):
        check = await asyncio.wait_for(checks.get(), 10)
        assert [finding.state for finding in check.findings] == [State.UNKNOWN, State.UNKNOWN]
    await watching.stop()
    await watching.stop()


async def test_the_watch_survives_what_goes_wrong() -> None:
    """A database that does not answer, an alert that is not delivered, or an error of our own: it looks again."""
    checks: asyncio.Queue[Check] = asyncio.Queue()
    watching = watch(checks)
    errors = [StorageUnavailable("away"), NotDelivered("away"), RuntimeError("a mistake")]
    real = watching._on_check

    def fail(check: Check, at: datetime) -> None:
        if errors:
            raise errors.pop()
        real(check, at)

    watching._on_check = fail
    await watching.start()
    await asyncio.wait_for(checks.get(), 10)
    await watching.stop()
    assert errors == []


async def test_an_interval_of_nothing_is_no_watch() -> None:
    """Nothing is started, and nothing has to be stopped."""
    watching = watch(asyncio.Queue(), interval=0)
    before = asyncio.all_tasks()
    await watching.start()
    assert asyncio.all_tasks() == before
    await watching.stop()
