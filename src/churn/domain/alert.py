"""When somebody must be told: what two reports amount to, and how that changes."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from churn.domain.drift import DriftReport, Verdict
from churn.domain.manifest import Manifest
from churn.domain.performance import Performance, wilson

#: Resolved predictions under which nothing is said of how good the model was.
ENOUGH_OUTCOMES: Final = 100
#: Standard errors beyond which the number of leavers contradicts the probabilities. The question is asked again and
#: again about much the same people: at the usual two it would be answered wrongly every few months.
_CALIBRATION_Z: Final = 3.0


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


def performance_finding(performance: Performance | None, manifest: Manifest) -> Finding:
    """What the realised performance of a version amounts to, against what its manifest promised.

    It is an alarm when the whole 95 % interval of the ROC AUC lies below the whole one that was promised, or when the
    share that left is more than three standard errors from what was predicted. None: there is no prediction.
    """
    realised = None if performance is None else performance.realised
    reasons = []
    state = State.UNKNOWN
    if realised is not None and realised.predictions >= ENOUGH_OUTCOMES:
        if realised.roc_auc is not None and realised.roc_auc.high < manifest.evaluation.model.roc_auc.low:
            reasons.append("roc_auc")
        share = wilson(realised.left, realised.predictions, z=_CALIBRATION_Z)
        if not share.low <= realised.expected / realised.predictions <= share.high:
            reasons.append("calibration")
        state = State.ALARM if reasons else State.OK
    return Finding(subject=Subject.PERFORMANCE, state=state, model_version=manifest.version, reasons=tuple(reasons))


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
