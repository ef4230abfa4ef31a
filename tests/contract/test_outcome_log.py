"""What every `OutcomeLog` must do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import uuid_utils.compat
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction

from churn.adapters.memory import MemoryAuditTrail, MemoryHistoryRepository, MemoryOutcomeLog
from churn.adapters.postgres.audit import PostgresAuditTrail
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.follow_up import PostgresOutcomeLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.tables import outcome as table
from churn.adapters.postgres.tables import prediction as predictions
from churn.domain.audit import AuditEvent
from churn.domain.errors import StorageUnavailable
from churn.domain.outcome import Outcome, Subject
from churn.domain.prediction import Prediction
from churn.ports import AuditTrail, HistoryRepository, OutcomeLog

type Stores = tuple[HistoryRepository, OutcomeLog, AuditTrail]

DAY = date(2026, 5, 1)


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history, trail = MemoryHistoryRepository(), MemoryAuditTrail()
    yield history, MemoryOutcomeLog(history, trail), trail


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    history = PostgresHistoryRepository(engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    yield history, PostgresOutcomeLog(engine), PostgresAuditTrail(engine)
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


async def answer(history: HistoryRepository, **changes: object) -> Prediction:
    answered = prediction(**changes)
    await history.append(answered)
    return answered


def outcome(prediction_id: UUID, **changes: object) -> Outcome:
    values = {
        "left": True,
        "observed_on": DAY,
        "recorded_at": datetime(2026, 5, 2, 8, 0, 0, 123456, tzinfo=UTC),
        "account": "anne",
    }
    return Outcome(prediction_id=prediction_id, **values | changes)


def audited(added: int) -> AuditEvent:
    return AuditEvent(
        at=datetime(2026, 5, 2, tzinfo=UTC), account="anne", action="outcomes-recorded", details={"recorded": added}
    )


def test_it_fills_the_port(stores: Stores) -> None:
    """It has the methods of the port."""
    assert isinstance(stores[1], OutcomeLog)


async def test_what_is_added_is_found_newest_first(stores: Stores) -> None:
    """A change keeps what was said before, with who and when; nothing is lost of either."""
    history, outcomes, _ = stores
    id_ = (await answer(history)).id
    said = [
        outcome(id_, left=False, observed_on=date(2026, 4, 1)),
        outcome(id_, account="bruno", recorded_at=datetime(2026, 1, 1, tzinfo=UTC)),
        outcome(id_, left=False),
    ]
    for entry in said:
        assert await outcomes.append([entry], audit=audited) == 1
    assert list(await outcomes.of(id_)) == said[::-1]


async def test_what_is_known_already_is_not_added(stores: Stores) -> None:
    """Whoever says it, and whenever; but what was said before the newest may be said again."""
    history, outcomes, _ = stores
    id_ = (await answer(history)).id
    first, other = outcome(id_), outcome(id_, observed_on=date(2026, 4, 30))
    assert await outcomes.append([first], audit=audited) == 1
    again = outcome(id_, account="bruno", recorded_at=datetime(2026, 6, 1, tzinfo=UTC))
    assert await outcomes.append([again], audit=audited) == 0
    assert await outcomes.append([other], audit=audited) == 1
    assert await outcomes.append([again], audit=audited) == 1
    assert list(await outcomes.of(id_)) == [again, other, first]


async def test_many_are_added_at_once(stores: Stores) -> None:
    """Each to its own prediction; one whose prediction is not there is left out; none is fine too."""
    history, outcomes, _ = stores
    ids = [(await answer(history)).id for _ in range(3)]
    assert await outcomes.append([], audit=audited) == 0
    assert await outcomes.append([outcome(ids[1])], audit=audited) == 1
    nowhere = uuid_utils.compat.uuid7()
    assert await outcomes.append([outcome(id_) for id_ in [*ids, nowhere]], audit=audited) == 2
    assert [len(await outcomes.of(id_)) for id_ in [*ids, nowhere]] == [1, 1, 1, 0]


async def test_the_audit_is_told_of_what_was_added(stores: Stores) -> None:
    """Once for each call that added something, with their number."""
    history, outcomes, trail = stores
    ids = [(await answer(history)).id for _ in range(2)]
    for _ in range(2):
        await outcomes.append([outcome(id_) for id_ in ids], audit=audited)
    await outcomes.append([outcome(uuid_utils.compat.uuid7())], audit=audited)
    assert [entry.details for entry in await trail.page(before=None, limit=9)] == [{"recorded": 2}]


async def test_of_those_that_come_at_once_each_gets_its_place(stores: Stores) -> None:
    """None fails and none is lost, in whatever order they come."""
    history, outcomes, _ = stores
    ids = [(await answer(history)).id for _ in range(4)]
    days = [date(2026, 5, day) for day in range(1, 9)]

    async def say(day: date) -> None:
        order = ids if day.day % 2 else ids[::-1]
        await outcomes.append([outcome(id_, observed_on=day) for id_ in order], audit=audited)

    await asyncio.gather(*(say(day) for day in days))
    for id_ in ids:
        assert sorted(entry.observed_on for entry in await outcomes.of(id_)) == days


async def test_subjects_are_found_by_id_and_by_employee(stores: Stores) -> None:
    """Each once and by id, with the outcome that counts."""
    history, outcomes, _ = stores
    ours = [
        await answer(history, employee=employee(**changes))
        for changes in ({"employee_ref": "E-1"}, {}, {"employee_ref": "E-2"}, {"employee_ref": "E-1"})
    ]
    for changes in ({"left": False}, {"left": True}):
        await outcomes.append([outcome(ours[0].id, **changes)], audit=audited)
    found = await outcomes.subjects(
        prediction_ids=[ours[3].id, ours[1].id, uuid_utils.compat.uuid7()], employee_refs={"E-1", "E-3"}
    )
    assert list(found) == [
        Subject(
            prediction_id=ours[index].id,
            predicted_at=ours[index].created_at,
            employee_ref=ref,
            newest=outcome(ours[0].id) if index == 0 else None,
        )
        for index, ref in ((0, "E-1"), (1, None), (3, "E-1"))
    ]
    assert await outcomes.subjects(prediction_ids=(), employee_refs=()) == []


# What only a real server can show.


async def test_a_prediction_that_is_erased_takes_its_outcomes_along(engine: AsyncEngine) -> None:
    """Nothing is left of a prediction that was deleted."""
    async with postgres(engine) as (history, outcomes, _):
        id_ = (await answer(history)).id
        await outcomes.append([outcome(id_)], audit=audited)
        async with engine.begin() as connection:
            await connection.execute(delete(predictions).where(predictions.c.id == id_))
            assert (await connection.execute(select(table))).all() == []


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    outcomes = PostgresOutcomeLog(engine)
    id_ = uuid_utils.compat.uuid7()
    for call in [
        outcomes.append([outcome(id_)], audit=audited),
        outcomes.of(id_),
        outcomes.subjects(prediction_ids=[id_], employee_refs=()),
    ]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
