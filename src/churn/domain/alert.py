"""When somebody must be told: what two reports amount to, and how that changes."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from churn.domain.drift import DriftReport, Verdict
from churn.domain.manifest import Manifest
from churn.domain.performance import Performance, PerformanceReport, Realised, wilson

#: Resolved predictions under which nothing is said of how good the model was.
ENOUGH_OUTCOMES: Final = 100
#: Standard errors beyond which the number of leavers contradicts the probabilities. The question is asked again and
#: again about much the same people: at the usual two it would be answered wrongly every few months.
_CALIBRATION_Z: Final = 3.0
#: Share of predictions without an outcome, among those whose horizon has passed, beyond which nothing is said either.
_MOST_CENSORED: Final = 0.2


class Subject(StrEnum):
    """What may be wrong."""

    DRIFT = "drift"
    PERFORMANCE = "performance"


class State(StrEnum):
    """How it stands."""

    OK = "ok"
    ALARM = "alarm"
    UNKNOWN = "unknown"
    """There is too little to tell."""


class Finding(Struct, frozen=True, kw_only=True):
    """What one check found of one subject."""

    subject: Subject
    state: State
    model_version: str
    reasons: tuple[str, ...] = ()
    """Of an alarm: the columns that drift, or `roc_auc` and `calibration`."""


class Alert(Struct, frozen=True, kw_only=True):
    """A change of a subject's state: an entry of a log that only grows. The last one of a subject holds."""

    number: int
    """Position in the subject's log, from 1 on, without a gap."""
    at: datetime
    subject: Subject
    state: State
    """`ok` or `alarm`."""
    model_version: str
    reasons: tuple[str, ...]
    delivered_at: datetime | None = None
    """When whoever is to be told has confirmed it."""


def drift_finding(report: DriftReport) -> Finding:
    """What a drift report amounts to."""
    states = {Verdict.DRIFT: State.ALARM, Verdict.STABLE: State.OK}
    return Finding(
        subject=Subject.DRIFT,
        state=states.get(report.verdict, State.UNKNOWN),
        model_version=report.model_version,
        reasons=report.drifting,
    )


def performance_finding(report: PerformanceReport, manifest: Manifest) -> Finding:
    """What the realised performance of a version amounts to, against what its manifest promised.

    Its latest month with enough outcomes is judged, so that a change is not lost in a good past, and the whole period.
    It is an alarm when the 95 % interval of the ROC AUC lies below the one that was promised, or when the share that
    left is more than three standard errors from what was predicted.

    Args:
        report: of that version alone.
        manifest: of the version.
    """
    latest = [realised for month in report.months if (realised := _judged(month)) is not None][-1:]
    judged = latest + [realised for version in report.versions if (realised := _judged(version)) is not None]
    promised = manifest.evaluation.model.roc_auc
    reasons = []
    if any(realised.roc_auc is not None and realised.roc_auc.high < promised.low for realised in judged):
        reasons.append("roc_auc")
    if any(_is_miscalibrated(realised) for realised in judged):
        reasons.append("calibration")
    state = State.ALARM if reasons else State.OK if judged else State.UNKNOWN
    return Finding(subject=Subject.PERFORMANCE, state=state, model_version=manifest.version, reasons=tuple(reasons))


def _judged(performance: Performance) -> Realised | None:
    """What is realised, if enough is known, and little enough is missing: who is not observed has rather stayed."""
    realised = performance.realised
    if realised is None or realised.predictions < ENOUGH_OUTCOMES:
        return None
    missing = performance.censored / (realised.predictions + performance.censored)
    return realised if missing <= _MOST_CENSORED else None


def _is_miscalibrated(realised: Realised) -> bool:
    share = wilson(realised.left, realised.predictions, z=_CALIBRATION_Z)
    return not share.low <= realised.expected / realised.predictions <= share.high


def next_alert(last: Alert | None, finding: Finding, *, at: datetime) -> Alert | None:
    """The alert that `finding` makes after `last`; None when nothing has changed.

    What cannot be told changes nothing, and as long as there was never an alarm all is well.
    """
    before = State.OK if last is None else last.state
    if finding.state in (State.UNKNOWN, before):
        return None
    return Alert(
        number=1 if last is None else last.number + 1,
        at=at,
        subject=finding.subject,
        state=finding.state,
        model_version=finding.model_version,
        reasons=finding.reasons,
    )
