"""What every `PersonalData` must do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec import Struct
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction

from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.memory import (
    MemoryAuditTrail,
    MemoryHistoryRepository,
    MemoryOutcomeLog,
    MemoryPersonalData,
    MemoryReviewLog,
    MemoryShadowScores,
)
from churn.adapters.postgres.audit import PostgresAuditTrail
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.follow_up import PostgresOutcomeLog, PostgresReviewLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.models import PostgresShadowScores
from churn.adapters.postgres.personal_data import PostgresPersonalData
from churn.adapters.postgres.tables import metadata
from churn.adapters.postgres.tables import prediction as predictions
from churn.adapters.postgres.traffic import PostgresTrafficCounts, TrafficCounter
from churn.domain.activation import ShadowScore
from churn.domain.audit import AuditEvent
from churn.domain.errors import StorageUnavailable
from churn.domain.outcome import Outcome
from churn.domain.personal_data import Kept, Removed
from churn.domain.prediction import HistoryFilter, Prediction
from churn.domain.review import Decision, Review
from churn.domain.traffic import Binning
from churn.ports import AuditTrail, HistoryRepository, OutcomeLog, PersonalData, ReviewLog, ShadowScores
from churn.settings import Settings

NOW = datetime(2026, 5, 2, 8, 0, 0, 123456, tzinfo=UTC)


class Stores(Struct):
    """What is kept, and what removes it."""

    history: HistoryRepository
    shadow_scores: ShadowScores
    outcomes: OutcomeLog
    reviews: ReviewLog
    trail: AuditTrail
    data: PersonalData


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history, trail = MemoryHistoryRepository(), MemoryAuditTrail()
    kept = {
        "history": history,
        "shadow_scores": MemoryShadowScores(history),
        "outcomes": MemoryOutcomeLog(history),
        "reviews": MemoryReviewLog(history),
        "trail": trail,
    }
    yield Stores(**kept, data=MemoryPersonalData(**kept))


def catalogue() -> JoblibModelCatalogue:
    settings = Settings()
    return JoblibModelCatalogue(settings.models_dir, default="", trusted="")


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    counter = TrafficCounter(catalogue())
    history = PostgresHistoryRepository(
        engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None, counter=counter
    )
    await history.start()
    yield Stores(
        history=history,
        shadow_scores=PostgresShadowScores(engine),
        outcomes=PostgresOutcomeLog(engine),
        reviews=PostgresReviewLog(engine),
        trail=PostgresAuditTrail(engine),
        data=PostgresPersonalData(engine, counter=counter),
    )
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


def audited(removed: Removed) -> AuditEvent:
    return AuditEvent(at=NOW, account="root", action="removed", details={"predictions": removed.predictions})


def quietly(_: object) -> AuditEvent:
    return AuditEvent(at=NOW, account="anne", action="added")


async def answer(stores: Stores, ref: str, **changes: object) -> Kept:
    """A prediction of `ref`, with something of each kind hanging on it."""
    answered = prediction(employee=employee(employee_ref=ref), **changes)
    await stores.history.append(answered)
    scores = [
        ShadowScore(prediction_id=answered.id, model_version=version, probability=0.25, leaves=False)
        for version in ("B", "a")
    ]
    await stores.shadow_scores.append(scores)
    outcomes = [
        Outcome(prediction_id=answered.id, left=left, observed_on=date(2026, 5, 1), recorded_at=NOW, account="anne")
        for left in (False, True)
    ]
    for outcome in outcomes:
        await stores.outcomes.append([outcome], audit=quietly)
    review = Review(
        prediction_id=answered.id, decision=Decision.ACCEPTED, reason="oui", reviewed_at=NOW, account="anne"
    )
    await stores.reviews.append(review, audit=quietly(None))
    return Kept(prediction=answered, shadow_scores=scores, outcomes=outcomes[::-1], reviews=[review])


async def left(stores: Stores) -> set[Prediction]:
    return {item.id for item in await stores.history.find(HistoryFilter(), before=None, limit=100)}


async def test_it_fills_the_port(stores: Stores) -> None:
    """It has the methods of the port."""
    assert isinstance(stores.data, PersonalData)


async def test_everything_of_a_person_is_found(stores: Stores) -> None:
    """Each prediction with what hangs on it, and nobody else's."""
    mine = [await answer(stores, "E-1"), await answer(stores, "E-1")]
    await answer(stores, "E-2")
    assert list(await stores.data.of("E-1")) == mine
    assert list(await stores.data.of("E-3")) == []


async def test_everything_of_a_person_is_erased(stores: Stores) -> None:
    """With what hangs on it, and nobody else's; the trail has the number of rows."""
    mine = [await answer(stores, "E-1"), await answer(stores, "E-1")]
    other = await answer(stores, "E-2")
    removed = await stores.data.erase("E-1", audit=audited)
    assert removed == Removed(predictions=2, shadow_scores=4, outcomes=4, reviews=2)
    assert list(await stores.data.of("E-1")) == []
    for kept in mine:
        assert list(await stores.outcomes.of(kept.prediction.id)) == []
        assert list(await stores.reviews.of(kept.prediction.id)) == []
    assert list(await stores.data.of("E-2")) == [other]
    (entry,) = await stores.trail.page(before=None, limit=1)
    assert (entry.action, entry.details) == ("removed", {"predictions": 2})


async def test_nothing_is_nothing(stores: Stores) -> None:
    """Where there is nothing to erase or purge, nothing is said to the trail."""
    kept = await answer(stores, "E-2")
    before = kept.prediction.created_at
    assert await stores.data.erase("E-1", audit=audited) is None
    assert await stores.data.purge(before=before, limit=9, audit=audited) is None
    assert await stores.data.older_than(before) == 0
    assert "removed" not in {entry.action for entry in await stores.trail.page(before=None, limit=100)}


async def test_the_oldest_are_purged_first(stores: Stores) -> None:
    """Those before the moment, and a limited number at a time."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    kept = [await answer(stores, "E-1", created_at=start + timedelta(days=day)) for day in (3, 0, 2, 1)]
    by_age = [item.prediction.id for item in sorted(kept, key=lambda item: item.prediction.created_at)]
    before = start + timedelta(days=3)
    assert await stores.data.older_than(before) == 3
    removed = await stores.data.purge(before=before, limit=2, audit=audited)
    assert removed == Removed(predictions=2, shadow_scores=4, outcomes=4, reviews=2)
    assert await left(stores) == set(by_age[2:])
    removed = await stores.data.purge(before=before, limit=2, audit=audited)
    assert removed == Removed(predictions=1, shadow_scores=2, outcomes=2, reviews=1)
    assert await left(stores) == set(by_age[3:])
    assert await stores.data.purge(before=before, limit=2, audit=audited) is None
    actions = [entry.action for entry in await stores.trail.page(before=None, limit=2)]
    assert actions == ["removed", "removed"]


# What only a real server can show.


async def test_the_counts_are_right_afterwards(engine: AsyncEngine) -> None:
    """What was erased or purged is in no count of the traffic: a rebuild would change nothing."""
    models = catalogue()
    (manifest, *_) = await models.manifests()
    binning = Binning(manifest)
    counts = PostgresTrafficCounts(engine)
    async with postgres(engine) as stores:
        start = datetime(2026, 3, 1, tzinfo=UTC)
        for day in range(4):
            for ref in ("E-1", "E-2"):
                await answer(stores, ref, created_at=start + timedelta(days=day), model_version=manifest.version)
        await stores.data.erase("E-1", audit=audited)
        await stores.data.purge(before=start + timedelta(days=1), limit=9, audit=audited)
        by_day = await counts.by_day(binning, since=start.date(), until=start.date() + timedelta(days=9))
        assert {day.day: int(count[0]) for day, count in by_day.items()} == {1: 0, 2: 1, 3: 1, 4: 1}
        assert await counts.rebuild(binning) == []


async def test_no_table_has_the_pseudonym_any_more(engine: AsyncEngine) -> None:
    """Whatever tables there are: none of their rows has it as text."""
    async with postgres(engine) as stores:
        await answer(stores, "E-secret-1")
        await stores.data.erase("E-secret-1", audit=audited)
    async with engine.connect() as connection:
        for name in metadata.tables:
            found = await connection.scalar(text(f"SELECT count(*) FROM {name} AS r WHERE r::text LIKE '%E-secret-1%'"))
            assert found == 0, name


async def test_what_somebody_else_holds_is_left_for_later(engine: AsyncEngine) -> None:
    """A purge waits for nobody, and two at once share the work."""
    async with postgres(engine) as stores:
        kept = [await answer(stores, "E-1") for _ in range(3)]
        moment = kept[0].prediction.created_at + timedelta(days=1)
        async with engine.begin() as other:
            held = predictions.c.id == kept[1].prediction.id
            await other.execute(select(predictions.c.id).where(held).with_for_update())
            removed = await stores.data.purge(before=moment, limit=9, audit=audited)
        assert removed is not None
        assert removed.predictions == 2
        async with engine.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(predictions)) == 1


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    data = PostgresPersonalData(engine, counter=TrafficCounter(catalogue()))
    for call in [
        data.of("E-1"),
        data.erase("E-1", audit=audited),
        data.older_than(NOW),
        data.purge(before=NOW, limit=1, audit=audited),
    ]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
