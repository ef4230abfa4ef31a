"""What is recorded of a list of reports, and what is refused."""

from datetime import date, timedelta

import pytest
import uuid_utils.compat
from tests.builders import employee, prediction

from churn.adapters.memory import MemoryClock, MemoryHistoryRepository, MemoryOutcomeLog
from churn.domain.errors import OutcomesRefused, ReportFault
from churn.domain.prediction import Prediction
from churn.use_cases.record_outcomes import Recorded, RecordOutcomes, Report


@pytest.fixture
def history() -> MemoryHistoryRepository:
    return MemoryHistoryRepository()


@pytest.fixture
def outcomes(history: MemoryHistoryRepository) -> MemoryOutcomeLog:
    return MemoryOutcomeLog(history)


@pytest.fixture
def record(outcomes: MemoryOutcomeLog, clock: MemoryClock) -> RecordOutcomes:
    clock.advance(timedelta(days=400).total_seconds())
    return RecordOutcomes(outcomes=outcomes, clock=clock, horizon=12)


async def predict(history: MemoryHistoryRepository, clock: MemoryClock, ref: str, days_ago: int) -> Prediction:
    made = prediction(employee=employee(employee_ref=ref), created_at=clock.now() - timedelta(days=days_ago))
    await history.append(made)
    return made


async def test_a_report_on_an_employee_is_about_all_their_predictions(
    history: MemoryHistoryRepository, outcomes: MemoryOutcomeLog, record: RecordOutcomes, clock: MemoryClock
) -> None:
    """All those made until that day, and nobody else's; who had none is named."""
    mine = [await predict(history, clock, "E-1", days) for days in (300, 100, 5)]
    other = await predict(history, clock, "E-2", 300)
    day = clock.now().date() - timedelta(days=50)
    reports = [Report(employee_ref=ref, left=True, observed_on=day) for ref in ("nobody", "E-1")]
    assert await record(reports, account="anne") == Recorded(
        reports=2, recorded=2, unchanged=0, without_prediction=(0,)
    )
    found = [[outcome.observed_on for outcome in await outcomes.of(made.id)] for made in [*mine, other]]
    assert found == [[day], [day], [], []]


async def test_saying_it_again_changes_nothing(
    history: MemoryHistoryRepository, outcomes: MemoryOutcomeLog, record: RecordOutcomes, clock: MemoryClock
) -> None:
    """Neither in another list nor in the same one."""
    made = await predict(history, clock, "E-1", 100)
    day = clock.now().date()
    twice = [
        Report(employee_ref="E-1", left=False, observed_on=day),
        Report(prediction_id=made.id, left=False, observed_on=day),
    ]
    assert (await record(twice, account="anne")).recorded == 1
    assert await record(twice, account="bruno") == Recorded(reports=2, recorded=0, unchanged=1, without_prediction=())
    assert [outcome.account for outcome in await outcomes.of(made.id)] == ["anne"]


async def test_everything_wrong_is_said_at_once_and_nothing_recorded(
    history: MemoryHistoryRepository, outcomes: MemoryOutcomeLog, record: RecordOutcomes, clock: MemoryClock
) -> None:
    """By row and field, also when other rows are fine."""
    made = await predict(history, clock, "E-1", 100)
    today = clock.now().date()
    reports = [
        Report(prediction_id=made.id, left=True, observed_on=today),
        Report(employee_ref="E-1", left=False, observed_on=today),
        Report(prediction_id=uuid_utils.compat.uuid7(), left=True, observed_on=today + timedelta(days=1)),
        Report(prediction_id=made.id, left=True, observed_on=date(2020, 1, 1)),
    ]
    with pytest.raises(OutcomesRefused) as refused:
        await record(reports, account="anne")
    assert list(refused.value.faults) == [
        ReportFault(1, "observed_on", "contradiction"),
        ReportFault(2, "prediction_id", "unknown"),
        ReportFault(2, "observed_on", "in-future"),
        ReportFault(3, "observed_on", "before-prediction"),
    ]
    assert await outcomes.of(made.id) == []
