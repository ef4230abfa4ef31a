"""What every `Evidence` must do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction, stored_together

from churn.adapters.joblib_model.bundle import active_version, read_manifest
from churn.adapters.memory import (
    MemoryAuditTrail,
    MemoryEvidence,
    MemoryHistoryRepository,
    MemoryModelCatalogue,
    MemoryOutcomeLog,
    MemoryPersonalData,
    MemoryReviewLog,
    MemoryShadowScores,
)
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.evidence import PostgresEvidence
from churn.adapters.postgres.follow_up import PostgresOutcomeLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.personal_data import PostgresPersonalData
from churn.adapters.postgres.tables import day_evidence
from churn.adapters.postgres.tables import prediction as prediction_table
from churn.adapters.postgres.traffic import TrafficCounter
from churn.domain.audit import AuditEvent
from churn.domain.errors import StorageUnavailable
from churn.domain.outcome import Outcome
from churn.domain.performance import Cohort
from churn.domain.prediction import RISKS, Risk, Score
from churn.ports import Evidence, HistoryRepository, OutcomeLog, PersonalData
from churn.settings import Settings

type Stores = tuple[HistoryRepository, OutcomeLog, Evidence, PersonalData]

MODELS = Path(Settings().models_dir)
LAST_OF_MAY = datetime(2025, 5, 31, 23, 59, 59, tzinfo=UTC)
#: Three months later, by the calendar.
END = date(2025, 8, 31)
EVERYTHING = {
    "since": date(2025, 1, 1),
    "until": date(2026, 1, 1),
    "model_version": None,
    "observed_until": date(2026, 1, 1),
    "months": 3,
}


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history, trail = MemoryHistoryRepository(), MemoryAuditTrail()
    outcomes, reviews, scores = MemoryOutcomeLog(history), MemoryReviewLog(history), MemoryShadowScores(history)
    data = MemoryPersonalData(history=history, shadow_scores=scores, outcomes=outcomes, reviews=reviews, trail=trail)
    yield history, outcomes, MemoryEvidence(history, outcomes), data


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    # One of the versions has a manifest here, the others have none.
    counter = TrafficCounter(MemoryModelCatalogue({"b": (read_manifest(MODELS, active_version(MODELS))[0], None)}))
    history = PostgresHistoryRepository(
        engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None, counter=counter
    )
    await history.start()
    yield history, PostgresOutcomeLog(engine), PostgresEvidence(engine), PostgresPersonalData(engine, counter=counter)
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


def audited(added: int) -> AuditEvent:
    return AuditEvent(at=LAST_OF_MAY, account="anne", action="outcomes-recorded", details={"recorded": added})


async def answer(
    stores: Stores,
    probability: float = 0.5,
    *outcomes: tuple[bool, date],
    at: datetime = LAST_OF_MAY,
    version: str = "a",
    risk: Risk = Risk.HIGH,
    ref: str = "E-1",
) -> None:
    """A prediction, and what was said of it afterwards, oldest first."""
    history, log, *_ = stores
    answered = prediction(
        created_at=at,
        model_version=version,
        score=Score(probability, None),
        risk=risk,
        employee=employee(employee_ref=ref),
    )
    await history.append(answered)
    for left, observed_on in outcomes:
        outcome = Outcome(prediction_id=answered.id, left=left, observed_on=observed_on, recorded_at=at, account="anne")
        await log.append([outcome], audit=audited)


async def only(stores: Stores, **changes: object) -> Cohort:
    (cohort,) = await stores[2].cohorts(**EVERYTHING | changes)
    return cohort


@pytest.mark.parametrize(
    ("outcomes", "resolved"),
    [
        ([], []),
        ([(True, date(2025, 6, 15))], [True]),
        ([(True, END)], [True]),
        ([(True, END + timedelta(days=1))], [False]),
        ([(False, END)], [False]),
        ([(False, END - timedelta(days=1))], []),
        ([(True, date(2025, 6, 15)), (False, END)], [False]),
        ([(False, END), (True, date(2025, 6, 15))], [True]),
    ],
    ids=[
        "nobody looked",
        "left",
        "left on the last day",
        "left the day after",
        "stayed",
        "not seen for long enough",
        "corrected to stayed",
        "corrected to left",
    ],
)
async def test_an_outcome_says_what_the_domain_says(
    stores: Stores, outcomes: list[tuple[bool, date]], resolved: list[bool]
) -> None:
    """Within the horizon, to the day, and by the newest word on it."""
    await answer(stores, 0.25, *outcomes)
    cohort = await only(stores)
    assert cohort.resolved_left.tolist() == resolved
    assert cohort.resolved_probability.tolist() == [0.25] * len(resolved)
    assert cohort.resolved_risk.tolist() == [RISKS.index(Risk.HIGH)] * len(resolved)
    assert (cohort.predictions, cohort.pending, cohort.left_early) == (1, 0, 0)


@pytest.mark.parametrize(("observed_until", "pending"), [(END - timedelta(days=1), 3), (END, 0), (date.min, 3)])
async def test_a_horizon_has_passed_when_its_last_day_was_observed(
    stores: Stores, observed_until: date, pending: int
) -> None:
    """Until then nobody is judged, also those who have left; they are told apart."""
    await answer(stores)
    await answer(stores, 0.4, (True, date(2025, 6, 1)))
    await answer(stores, 0.6, (False, END))
    cohort = await only(stores, observed_until=observed_until)
    assert (cohort.pending, cohort.left_early) == (pending, 1 if pending else 0)
    assert sorted(cohort.resolved_probability) == ([] if pending else [0.4, 0.6])


async def test_the_last_day_on_which_anybody_was_still_there(stores: Stores) -> None:
    """Departures do not count, nor does what was corrected."""
    evidence = stores[2]
    assert await evidence.observed_until() is None
    await answer(stores, 0.5, (True, date(2025, 8, 1)))
    assert await evidence.observed_until() is None
    await answer(stores, 0.5, (False, date(2025, 6, 1)))
    await answer(stores, 0.5, (False, date(2025, 7, 1)))
    await answer(stores, 0.5, (False, date(2025, 9, 1)), (True, date(2025, 8, 1)))
    assert await evidence.observed_until() == date(2025, 7, 1)


async def test_months_and_versions_are_apart_and_in_order(stores: Stores) -> None:
    """By the month of the prediction in UTC, then the version; one version alone when asked for."""
    for at in (datetime(2025, 6, 1, tzinfo=UTC), LAST_OF_MAY):
        for version in ("b", "a", "B"):
            await answer(stores, at=at, version=version)
    cohorts = await stores[2].cohorts(**EVERYTHING)
    may, june = date(2025, 5, 1), date(2025, 6, 1)
    assert [(cohort.month, cohort.model_version) for cohort in cohorts] == [
        (month, version) for month in (may, june) for version in ("B", "a", "b")
    ]
    cohorts = await stores[2].cohorts(**EVERYTHING | {"model_version": "a", "since": june})
    assert [(cohort.month, cohort.model_version) for cohort in cohorts] == [(june, "a")]
    assert await stores[2].cohorts(**EVERYTHING | {"since": date(2025, 6, 2)}) == []


async def test_groups_hold_every_prediction(stores: Stores) -> None:
    """Their sizes and mean probabilities are those of all predictions, resolved or not, and risks are not mixed."""
    probabilities = [0.0, 0.1, 0.1004, 0.2999, 0.3, 0.3, 0.9999, 1.0]
    for p in probabilities:
        await answer(stores, p, risk=Risk.HIGH if p >= 0.3 else Risk.LOW)
    cohort = await only(stores)
    assert cohort.predictions == len(probabilities)
    assert (cohort.count * cohort.probability).sum() == pytest.approx(sum(probabilities))
    high = cohort.risk == RISKS.index(Risk.HIGH)
    assert cohort.count[high].sum() == 4
    assert (cohort.count * cohort.probability)[high].sum() == pytest.approx(0.6 + 0.9999 + 1.0)
    assert cohort.probability.max() == 1.0


@pytest.mark.parametrize("version", ["a", "b"])
async def test_whatever_changes_is_told_the_next_time(stores: Stores, version: str) -> None:
    """Predictions one by one or many at once, an outcome, its correction, another horizon, erasure and purge."""
    history, log, evidence, data = stores
    made = prediction(created_at=LAST_OF_MAY, model_version=version, employee=employee(employee_ref="E-2"))

    async def told(**changes: object) -> tuple[int, list[float], list[bool]]:
        cohorts = await evidence.cohorts(**EVERYTHING | changes)
        assert len(cohorts) <= 1
        for cohort in cohorts:
            known = sorted(zip(cohort.resolved_probability.tolist(), cohort.resolved_left.tolist(), strict=True))
            return cohort.predictions, [p for p, _ in known], [left for _, left in known]
        return 0, [], []

    async def say(left: bool, observed_on: date) -> None:
        outcome = Outcome(
            prediction_id=made.id, left=left, observed_on=observed_on, recorded_at=LAST_OF_MAY, account="anne"
        )
        await log.append([outcome], audit=audited)

    await answer(stores, 0.25, (False, END), version=version)
    assert await told() == (1, [0.25], [False])
    await history.append(made)
    assert await told() == (2, [0.25], [False])
    await say(False, END - timedelta(days=40))
    assert await told() == (2, [0.25], [False])
    assert await told(months=1) == (2, [0.25, 0.8125], [False, False])
    await say(True, END)
    assert await told() == (2, [0.25, 0.8125], [False, True])
    await say(False, END)
    assert await told() == (2, [0.25, 0.8125], [False, False])
    await stored_together(history, prediction(created_at=LAST_OF_MAY - timedelta(hours=23), model_version=version))
    assert await told() == (3, [0.25, 0.8125], [False, False])
    await data.erase("E-2", audit=lambda _: audited(1))
    assert await told() == (2, [0.25], [False])
    await data.purge(before=LAST_OF_MAY + timedelta(days=1), limit=10, audit=lambda _: audited(2))
    assert await told() == (0, [], [])


async def test_an_empty_history_has_no_cohort(stores: Stores) -> None:
    """Nothing to say is no error."""
    assert await stores[2].cohorts(**EVERYTHING) == []


# What only a real server can show.


async def test_what_is_kept_of_a_day_goes_with_a_person(engine: AsyncEngine) -> None:
    """Nothing that was read off the erased rows is left, and what has not changed is not read again."""
    async with postgres(engine) as stores:
        for n, ref in enumerate(("E-1", "E-2", "E-1")):
            await answer(stores, 0.25, at=LAST_OF_MAY - timedelta(days=n), ref=ref)
        await stores[2].cohorts(**EVERYTHING)
        await stores[3].erase("E-2", audit=lambda _: audited(1))
        async with engine.begin() as connection:
            assert (await connection.scalars(select(day_evidence.c.day))).all() == [date(2025, 5, 29)]
            await connection.execute(update(prediction_table).values(probability=0.75))
    (cohort,) = await PostgresEvidence(engine).cohorts(**EVERYTHING)
    # The newest day is not over.
    assert cohort.probability.tolist() == [0.25, 0.75]


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """In the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    with pytest.raises(StorageUnavailable):
        await PostgresEvidence(engine).cohorts(**EVERYTHING)
    await engine.dispose()
