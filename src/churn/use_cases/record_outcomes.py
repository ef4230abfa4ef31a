"""What really happened?"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from uuid import UUID

from msgspec import Struct

from churn.domain.audit import Action, AuditEvent
from churn.domain.errors import OutcomesRefused, ReportFault, UnknownPrediction
from churn.domain.outcome import Outcome, Subject, concerned, impossible_day
from churn.ports import Clock, OutcomeLog


class Report(Struct, frozen=True, kw_only=True):
    """What somebody saw of a prediction's subject or of an employee: one of the two is named."""

    left: bool
    observed_on: date
    prediction_id: UUID | None = None
    employee_ref: str | None = None


class Recorded(Struct, frozen=True, kw_only=True):
    """What became of a list of reports."""

    reports: int
    recorded: int
    """Outcomes that were added; one report of an employee may be about many predictions."""
    unchanged: int
    """Outcomes that were known already."""
    without_prediction: tuple[int, ...]
    """Positions, from 0 on, of the reports on an employee that concern no prediction."""


class RecordOutcome:
    """Remembers what became of one prediction."""

    def __init__(self, *, outcomes: OutcomeLog, clock: Clock) -> None:
        self._outcomes = outcomes
        self._clock = clock

    async def __call__(self, prediction_id: UUID, *, left: bool, observed_on: date, account: str) -> Outcome:
        """The outcome that counts now: the one given, or the equal one that was there already.

        Raises:
            UnknownPrediction: there is none of that id.
            OutcomesRefused: it cannot have been observed on that day.
            Unavailable: it may or may not have been recorded; saying it again is safe.
        """
        now = self._clock.now()
        subjects = await self._outcomes.subjects(prediction_ids=[prediction_id], employee_refs=())
        for subject in subjects:
            if code := impossible_day(observed_on, predicted_at=subject.predicted_at, now=now):
                raise OutcomesRefused([ReportFault(0, "observed_on", code)])
        outcome = Outcome(
            prediction_id=prediction_id, left=left, observed_on=observed_on, recorded_at=now, account=account
        )
        event = AuditEvent(
            at=now,
            account=account,
            action=Action.OUTCOMES_RECORDED,
            subject=str(prediction_id),
            details={"recorded": 1},
        )
        await self._outcomes.append([outcome], audit=lambda _: event)
        for newest in await self._outcomes.of(prediction_id):
            return newest
        raise UnknownPrediction(prediction_id)


class RecordOutcomes:
    """Remembers what became of many predictions, or of the employees that they are about."""

    def __init__(self, *, outcomes: OutcomeLog, clock: Clock, horizon: int) -> None:
        """`horizon` is in calendar months."""
        self._outcomes = outcomes
        self._clock = clock
        self._horizon = horizon

    async def __call__(self, reports: Sequence[Report], *, account: str) -> Recorded:
        """Record all of `reports`, or none. See `concerned` for what a report on an employee is about.

        Raises:
            OutcomesRefused: with everything that is wrong with any of them.
            Unavailable: they may or may not have been recorded; sending them again is safe.
        """
        now = self._clock.now()
        ids = {report.prediction_id for report in reports if report.prediction_id is not None}
        refs = {report.employee_ref for report in reports if report.employee_ref is not None}
        subjects = await self._outcomes.subjects(prediction_ids=ids, employee_refs=refs)
        by_id = {subject.prediction_id: subject for subject in subjects}
        by_ref: defaultdict[str | None, list[Subject]] = defaultdict(list)
        for subject in subjects:
            by_ref[subject.employee_ref].append(subject)

        said: dict[UUID, Outcome] = {}
        faults: list[ReportFault] = []
        without: list[int] = []
        for row, report in enumerate(reports):
            named = None if report.prediction_id is None else by_id.get(report.prediction_id)
            if report.prediction_id is not None and named is None:
                faults.append(ReportFault(row, "prediction_id", "unknown"))
            predicted_at = None if named is None else named.predicted_at
            if code := impossible_day(report.observed_on, predicted_at=predicted_at, now=now):
                faults.append(ReportFault(row, "observed_on", code))
                continue
            if report.prediction_id is not None:
                about: Sequence[Subject] = [] if named is None else [named]
            else:
                about = concerned(
                    by_ref[report.employee_ref],
                    left=report.left,
                    observed_on=report.observed_on,
                    months=self._horizon,
                )
                if not about:
                    without.append(row)
            if _contradicts(report, about, said):
                faults.append(ReportFault(row, "observed_on", "contradiction"))
                continue
            for subject in about:
                said[subject.prediction_id] = Outcome(
                    prediction_id=subject.prediction_id,
                    left=report.left,
                    observed_on=report.observed_on,
                    recorded_at=now,
                    account=account,
                )
        if faults:
            raise OutcomesRefused(faults)
        recorded = await self._outcomes.append(
            list(said.values()),
            audit=lambda added: AuditEvent(
                at=now,
                account=account,
                action=Action.OUTCOMES_RECORDED,
                details={"reports": len(reports), "recorded": added},
            ),
        )
        return Recorded(
            reports=len(reports),
            recorded=recorded,
            unchanged=len(said) - recorded,
            without_prediction=tuple(without),
        )


def _contradicts(report: Report, about: Sequence[Subject], said: dict[UUID, Outcome]) -> bool:
    """Whether an earlier report of the same list says something else of one of these predictions."""
    earlier: Iterator[Outcome] = (said[subject.prediction_id] for subject in about if subject.prediction_id in said)
    return any((outcome.left, outcome.observed_on) != (report.left, report.observed_on) for outcome in earlier)
