"""What became of the person a prediction is about, and when that says whether the prediction was right."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from msgspec import Struct


class Outcome(Struct, frozen=True, kw_only=True):
    """What somebody saw: an entry of a log that only grows. The newest one of a prediction counts."""

    prediction_id: UUID
    left: bool
    """Whether the person has left."""
    observed_on: date
    """The day of leaving, or a day on which the person was still there; days are UTC's."""
    recorded_at: datetime
    account: str
    """Username of who recorded it, or `cli:` and the name of the machine's user."""


class Status(StrEnum):
    """What a prediction can be held against."""

    LEFT = "left"
    """The person left within the horizon."""
    STAYED = "stayed"
    """The person was there for the whole horizon, whatever happened later."""
    CENSORED = "censored"
    """Nobody has looked for long enough to tell: such a prediction was neither right nor wrong."""


def horizon_end(predicted_at: datetime, *, months: int) -> date:
    """The last day on which leaving counts: `months` calendar months after the day of the prediction.

    A day that the month does not have becomes its last one, as in PostgreSQL's `date + interval`.
    """
    years, month = divmod(predicted_at.month - 1 + months, 12)
    year, month = predicted_at.year + years, month + 1
    return date(year, month, min(predicted_at.day, monthrange(year, month)[1]))


def status(predicted_at: datetime, outcome: Outcome | None, *, months: int) -> Status:
    """What `outcome`, the newest one, makes of a prediction within a horizon of `months` calendar months.

    Somebody who left after the horizon was there until its end. Somebody last seen before its end is censored, not
    taken for a "stayed": that would make a model look wrong whose leavers have not left yet.
    """
    if outcome is None:
        return Status.CENSORED
    end = horizon_end(predicted_at, months=months)
    if outcome.left and outcome.observed_on <= end:
        return Status.LEFT
    return Status.STAYED if outcome.observed_on >= end else Status.CENSORED


#: Why an outcome cannot have been observed on the day that it names.
ImpossibleDay = Literal["in-future", "before-prediction"]


def impossible_day(observed_on: date, *, predicted_at: datetime | None, now: datetime) -> ImpossibleDay | None:
    """Why nobody can have seen on `observed_on` what became of the prediction, if so; `predicted_at` when known."""
    if observed_on > now.date():
        return "in-future"
    if predicted_at is not None and observed_on < predicted_at.date():
        return "before-prediction"
    return None


class Subject(Struct, frozen=True, kw_only=True):
    """A prediction that an outcome may be about."""

    prediction_id: UUID
    predicted_at: datetime
    employee_ref: str | None
    newest: Outcome | None
    """The outcome that counts until now."""


def concerned(subjects: Sequence[Subject], *, left: bool, observed_on: date, months: int) -> Sequence[Subject]:
    """Those of one person's predictions that the person's leaving, or being there, on `observed_on` is about.

    All that were made on that day or before, whatever the horizon, which `status` applies later: being there a year
    later is what makes a "stayed". But people come back: what is seen of somebody after a recorded departure does
    not undo that departure, unless it is another day of leaving within the prediction's own horizon of `months`.
    """
    return [
        subject
        for subject in subjects
        if subject.predicted_at.date() <= observed_on
        and (
            subject.newest is None
            or not subject.newest.left
            or observed_on <= subject.newest.observed_on
            or (left and observed_on <= horizon_end(subject.predicted_at, months=months))
        )
    ]
