"""When an outcome says whether a prediction was right."""

from datetime import UTC, date, datetime, timedelta

import pytest
import uuid_utils.compat
from hypothesis import given
from hypothesis import strategies as st

from churn.domain.outcome import Outcome, Status, Subject, concerned, horizon_end, impossible_day, status

PREDICTED = datetime(2026, 3, 15, 9, 30, tzinfo=UTC)


def outcome(observed_on: date, *, left: bool) -> Outcome:
    return Outcome(
        prediction_id=uuid_utils.compat.uuid7(),
        left=left,
        observed_on=observed_on,
        recorded_at=PREDICTED,
        account="anne",
    )


def subject(newest: Outcome | None = None, predicted_at: datetime = PREDICTED) -> Subject:
    return Subject(
        prediction_id=uuid_utils.compat.uuid7(), predicted_at=predicted_at, employee_ref="E-1", newest=newest
    )


@pytest.mark.parametrize(
    ("day", "months", "end"),
    [
        ((2026, 3, 15), 12, (2027, 3, 15)),
        ((2026, 12, 31), 1, (2027, 1, 31)),
        ((2026, 1, 31), 1, (2026, 2, 28)),
        ((2024, 2, 29), 12, (2025, 2, 28)),
        ((2026, 10, 31), 6, (2027, 4, 30)),
        ((2026, 12, 1), 120, (2036, 12, 1)),
    ],
)
def test_the_horizon_is_in_calendar_months(day: tuple[int, ...], months: int, end: tuple[int, ...]) -> None:
    """It ends on the same day of the month, or on the last one of a month that is shorter."""
    assert horizon_end(datetime(*day, 23, 59, tzinfo=UTC), months=months) == date(*end)


@pytest.mark.parametrize(
    ("left", "days_after_the_end", "expected"),
    [
        (True, -300, Status.LEFT),
        (True, 0, Status.LEFT),
        (True, 1, Status.STAYED),
        (False, -1, Status.CENSORED),
        (False, 0, Status.STAYED),
        (False, 400, Status.STAYED),
    ],
)
def test_what_an_outcome_says(left: bool, days_after_the_end: int, expected: Status) -> None:
    """Leaving counts until the end of the horizon; only who was there until then has stayed."""
    end = horizon_end(PREDICTED, months=12)
    observed = outcome(end + timedelta(days=days_after_the_end), left=left)
    assert status(PREDICTED, observed, months=12) is expected


def test_who_was_never_looked_at_is_censored() -> None:
    """However long ago the prediction was made."""
    assert status(datetime(1990, 1, 1, tzinfo=UTC), None, months=1) is Status.CENSORED


@given(days=st.integers(0, 2000), left=st.booleans(), months=st.integers(1, 120))
def test_a_longer_horizon_never_turns_a_departure_into_a_stay(days: int, left: bool, months: int) -> None:
    """With the horizon, departures that count can only grow in number, and stays only shrink."""
    observed = outcome(PREDICTED.date() + timedelta(days=days), left=left)
    shorter, longer = (status(PREDICTED, observed, months=n) for n in (months, months + 1))
    assert (shorter, longer) in {
        (Status.LEFT, Status.LEFT),
        (Status.STAYED, Status.STAYED),
        (Status.STAYED, Status.LEFT),
        (Status.STAYED, Status.CENSORED),
        (Status.CENSORED, Status.CENSORED),
    }


@pytest.mark.parametrize(
    ("observed_on", "expected"),
    [
        (date(2026, 3, 14), "before-prediction"),
        (date(2026, 3, 15), None),
        (date(2026, 4, 1), None),
        (date(2026, 4, 2), "in-future"),
    ],
)
def test_some_days_are_impossible(observed_on: date, expected: str | None) -> None:
    """Those before the prediction's, and those that have not come."""
    now = datetime(2026, 4, 1, 23, 59, tzinfo=UTC)
    assert impossible_day(observed_on, predicted_at=PREDICTED, now=now) == expected


def test_an_employee_is_all_predictions_made_until_then() -> None:
    """Those of the same day too, and those of years ago: being there long after is what makes a stay."""
    old, same_day, later = (
        subject(predicted_at=moment)
        for moment in (PREDICTED - timedelta(days=3000), PREDICTED, PREDICTED + timedelta(days=1))
    )
    found = concerned([old, same_day, later], left=False, observed_on=PREDICTED.date(), months=12)
    assert found == [old, same_day]


@pytest.mark.parametrize(
    ("left", "observed_on", "applies"),
    [
        (False, date(2026, 7, 1), False),
        (True, date(2026, 7, 1), True),
        (True, date(2027, 3, 15), True),
        (True, date(2027, 3, 16), False),
        (False, date(2026, 6, 1), True),
        (True, date(2026, 5, 1), True),
    ],
)
def test_who_comes_back_had_left_all_the_same(left: bool, observed_on: date, applies: bool) -> None:
    """After a departure on June 1st, only a correction changes what the prediction is held against."""
    departed = subject(outcome(date(2026, 6, 1), left=True))
    found = concerned([departed], left=left, observed_on=observed_on, months=12)
    assert found == [departed] * applies
