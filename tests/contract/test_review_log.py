"""What every `ReviewLog` must do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import uuid_utils.compat
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import prediction

from churn.adapters.memory import MemoryAuditTrail, MemoryHistoryRepository, MemoryReviewLog
from churn.adapters.postgres.audit import PostgresAuditTrail
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.follow_up import PostgresReviewLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.domain.audit import AuditEvent
from churn.domain.errors import StorageUnavailable, UnknownPrediction
from churn.domain.review import Decision, Review, ReviewRates
from churn.ports import AuditTrail, HistoryRepository, ReviewLog

type Stores = tuple[HistoryRepository, ReviewLog, AuditTrail]


EVENT = AuditEvent(at=datetime(2026, 3, 2, tzinfo=UTC), account="anne", action="prediction-reviewed")


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history, trail = MemoryHistoryRepository(), MemoryAuditTrail()
    yield history, MemoryReviewLog(history, trail), trail


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    history = PostgresHistoryRepository(engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    yield history, PostgresReviewLog(engine), PostgresAuditTrail(engine)
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


async def answer(history: HistoryRepository, **changes: object) -> UUID:
    answered = prediction(**changes)
    await history.append(answered)
    return answered.id


def review(prediction_id: UUID, **changes: object) -> Review:
    values = {
        "decision": Decision.ACCEPTED,
        "reason": "Entretien : c'est juste.",
        "reviewed_at": datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC),
        "account": "anne",
    }
    return Review(prediction_id=prediction_id, **values | changes)


def test_it_fills_the_port(stores: Stores) -> None:
    """It has the methods of the port."""
    assert isinstance(stores[1], ReviewLog)


async def test_what_is_added_is_found_newest_first(stores: Stores) -> None:
    """Equal to what was given, with each change of mind."""
    history, reviews, _ = stores
    id_ = await answer(history)
    said = [review(id_), review(id_, decision=Decision.OVERRIDDEN), review(id_, account="bruno"), review(id_)]
    assert [await reviews.append(entry, audit=EVENT) for entry in said] == [True] * 4
    assert list(await reviews.of(id_)) == said[::-1]
    assert list(await reviews.of(await answer(history))) == []


async def test_the_same_said_again_is_not_added(stores: Stores) -> None:
    """By the same account, whenever it is."""
    history, reviews, _ = stores
    id_ = await answer(history)
    await reviews.append(review(id_), audit=EVENT)
    assert not await reviews.append(review(id_, reviewed_at=datetime(2026, 3, 3, tzinfo=UTC)), audit=EVENT)
    assert list(await reviews.of(id_)) == [review(id_)]


async def test_the_audit_is_told_of_what_was_added(stores: Stores) -> None:
    """And of nothing else."""
    history, reviews, trail = stores
    id_ = await answer(history)
    for _ in range(2):
        await reviews.append(review(id_), audit=EVENT)
    with pytest.raises(UnknownPrediction):
        await reviews.append(review(uuid_utils.compat.uuid7()), audit=EVENT)
    assert [entry.action for entry in await trail.page(before=None, limit=9)] == ["prediction-reviewed"]


async def test_of_what_is_not_there_nothing_can_be_said(stores: Stores) -> None:
    """A prediction that is not in the history cannot be reviewed."""
    nowhere = uuid_utils.compat.uuid7()
    with pytest.raises(UnknownPrediction):
        await stores[1].append(review(nowhere), audit=EVENT)
    assert list(await stores[1].of(nowhere)) == []


async def test_of_those_that_come_at_once_each_gets_its_place(stores: Stores) -> None:
    """None fails and none is lost."""
    history, reviews, _ = stores
    id_ = await answer(history)
    reasons = [f"reason {n}" for n in range(8)]
    await asyncio.gather(*(reviews.append(review(id_, reason=reason), audit=EVENT) for reason in reasons))
    assert sorted(entry.reason for entry in await reviews.of(id_)) == reasons


async def test_rates_are_of_the_newest_review_by_month_and_version(stores: Stores) -> None:
    """The month is that in which the prediction was made, in UTC, and predictions outside of the period are not in."""
    history, reviews, _ = stores
    made = {
        "january": datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC),
        "february": datetime(2026, 2, 1, tzinfo=UTC),
        "late": datetime(2026, 2, 28, 23, 59, tzinfo=UTC),
        "march": datetime(2026, 3, 1, tzinfo=UTC),
    }
    for moment in made.values():
        for version, decision in (("b", Decision.DISMISSED), ("a", Decision.OVERRIDDEN), ("b", Decision.ACCEPTED)):
            id_ = await answer(history, created_at=moment, model_version=version)
            await reviews.append(review(id_, decision=Decision.ACCEPTED, reason="first"), audit=EVENT)
            await reviews.append(review(id_, decision=decision), audit=EVENT)
    assert list(await reviews.rates(since=date(2026, 2, 1), until=date(2026, 3, 1))) == [
        ReviewRates(month=date(2026, 2, 1), model_version="a", accepted=0, overridden=2, dismissed=0),
        ReviewRates(month=date(2026, 2, 1), model_version="b", accepted=2, overridden=0, dismissed=2),
    ]
    everything = await reviews.rates(since=date(2026, 1, 1), until=date(2026, 4, 1))
    assert [(rates.month.month, rates.model_version, rates.reviewed) for rates in everything] == [
        (1, "a", 1), (1, "b", 2), (2, "a", 2), (2, "b", 4), (3, "a", 1), (3, "b", 2),
    ]  # fmt: skip


# What only a real server can show.


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    reviews = PostgresReviewLog(engine)
    id_ = uuid_utils.compat.uuid7()
    day = date(2026, 1, 1)
    for call in [reviews.append(review(id_), audit=EVENT), reviews.of(id_), reviews.rates(since=day, until=day)]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
