"""What every `TrafficCounts` must do."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction, stored_together
from tests.e2e.service import eventually

from churn.adapters.joblib_model.bundle import active_version, read_manifest
from churn.adapters.memory import MemoryHistoryRepository, MemoryModelCatalogue, MemoryTrafficCounts
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.tables import prediction as predictions
from churn.adapters.postgres.tables import traffic_count
from churn.adapters.postgres.traffic import PostgresTrafficCounts, TrafficCounter
from churn.domain.errors import StorageUnavailable
from churn.domain.manifest import Manifest
from churn.domain.prediction import Prediction, Score
from churn.domain.traffic import Binning, Counts, rows, without_reference
from churn.ports import HistoryRepository, TrafficCounts
from churn.settings import Settings

type Stores = tuple[HistoryRepository, TrafficCounts]

MODELS = Path(Settings().models_dir)
MANIFEST: Manifest = read_manifest(MODELS, active_version(MODELS))[0]
VERSION = MANIFEST.version
BINNING = Binning(MANIFEST)
CATALOGUE = MemoryModelCatalogue({VERSION: (MANIFEST, None)})
FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
ALWAYS = {"since": date.min, "until": date.max}


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history = MemoryHistoryRepository()
    yield history, MemoryTrafficCounts(history)


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    history = PostgresHistoryRepository(
        engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None, counter=TrafficCounter(CATALOGUE)
    )
    await history.start()
    yield history, PostgresTrafficCounts(engine)
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


def varied(n: int, *, seed: int = 0, **changes: object) -> list[Prediction]:
    """Predictions over all bins, over the edges themselves and beyond the training range."""
    rng = np.random.default_rng(seed)
    edges = [float(edge) for edge in BINNING.edges[-1]]
    return [
        prediction(
            **{
                "model_version": VERSION,
                "created_at": datetime(2026, 3, int(rng.integers(1, 4)), 23, 59, 59, 999_999, tzinfo=UTC),
                "score": Score(float(rng.choice([*edges, rng.random()])), None),
                "employee": employee(
                    age=int(rng.integers(18, 71)),
                    monthly_income=float(rng.choice([500.0, *BINNING.edges[1], rng.random() * 30_000])),
                    commute_distance=float(rng.integers(0, 40)),
                    years_in_role=int(rng.integers(0, 25)),
                    stock_option_level=int(rng.integers(0, 6)),
                    **({"employee_ref": f"E-{k}"} if k % 3 == 0 else {}),
                ),
            }
            | changes
        )
        for k in range(n)
    ]


def counted(predictions: Sequence[Prediction]) -> dict[date, Counts]:
    """What the domain makes of them."""
    days: dict[date, Counts] = {}
    for item in predictions:
        added = BINNING.count(
            (*item.employee.features(), item.score.probability),
            without_reference=int(not isinstance(item.employee.employee_ref, str)),
        )
        day = item.created_at.date()
        days[day] = days.get(day, BINNING.none()) + added
    return days


async def check(counts: TrafficCounts, predictions: Sequence[Prediction]) -> None:
    told = {day: counts.tolist() for day, counts in (await counts.by_day(BINNING, **ALWAYS)).items() if counts.any()}
    assert told == {day: counts.tolist() for day, counts in counted(predictions).items()}


async def many(history: HistoryRepository, *blocks: Sequence[Prediction]) -> None:
    await stored_together(history, *itertools.chain(*blocks))


async def test_what_is_stored_is_counted(stores: Stores) -> None:
    """By day and bin, whether it was stored one by one or many at once."""
    history, counts = stores
    one_by_one, first, second = varied(20), varied(50, seed=1), varied(50, seed=2)
    for item in one_by_one:
        await history.append(item)
    await many(history, first, second)
    await check(counts, [*one_by_one, *first, *second])
    assert await counts.rebuild(BINNING) == []


async def test_the_period_begins_with_its_first_day_and_ends_before_its_last(stores: Stores) -> None:
    """`since` is in it and `until` is not."""
    history, counts = stores
    await many(history, varied(60))
    days = await counts.by_day(BINNING, since=SECOND, until=THIRD)
    assert {day for day, counted in days.items() if counted.any()} == {SECOND}


async def test_versions_are_counted_apart(stores: Stores) -> None:
    """What another version scored is not in the counts of this one, nor is it lost from the list of versions."""
    history, counts = stores
    ours = varied(10)
    await many(history, ours, varied(5, model_version="other"))
    await check(counts, ours)
    assert await counts.versions() == sorted([VERSION, "other"])


async def test_an_empty_history_has_no_counts(stores: Stores) -> None:
    """Nothing to report, and nothing to correct."""
    _, counts = stores
    await check(counts, [])
    assert await counts.versions() == []
    assert await counts.rebuild(BINNING) == []


async def test_what_was_not_stored_is_not_counted(stores: Stores) -> None:
    """A prediction whose id is taken, alone or among many, adds nothing."""
    history, counts = stores
    (first,) = varied(1)
    await history.append(first)
    with pytest.raises(StorageUnavailable):
        await history.append(first)
    with pytest.raises(StorageUnavailable):
        await many(history, varied(3), [first])
    await check(counts, [first])


# What only a real server can show.


async def test_two_processes_count_together(engine: AsyncEngine) -> None:
    """Each adds to rows of its own, and the sum is right."""
    async with postgres(engine) as (one, counts), postgres(engine) as (other, _):
        first, second = varied(30), varied(30, seed=1)
        for a, b in zip(first, second, strict=True):
            await one.append(a)
            await other.append(b)
        await check(counts, [*first, *second])
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count(traffic_count.c.writer.distinct()))) == 2


async def test_what_is_deleted_is_counted_no_more(engine: AsyncEngine) -> None:
    """`subtract` takes it out in the transaction that deletes it, or not at all."""
    counter = TrafficCounter(CATALOGUE)
    async with postgres(engine) as (history, counts):
        gone, kept = varied(20), varied(20, seed=1)
        await many(history, gone, kept)
        for end in ("rollback", "commit"):
            async with engine.connect() as connection:
                await connection.execute(delete(predictions).where(predictions.c.id.in_([item.id for item in gone])))
                await counter.subtract(connection, gone)
                await getattr(connection, end)()
            await check(counts, kept if end == "commit" else [*gone, *kept])
        assert await counts.rebuild(BINNING) == []


async def test_a_rebuild_finds_every_mistake_and_corrects_it(engine: AsyncEngine) -> None:
    """Counts that are missing, false, or of days without a prediction; the second time there is nothing to do."""
    async with postgres(engine) as (history, counts):
        stored = varied(60)
        await many(history, stored)
        async with engine.begin() as connection:
            await connection.execute(delete(traffic_count).where(traffic_count.c.day == FIRST))
            await connection.execute(
                update(traffic_count).where(traffic_count.c.day == SECOND).values(counts=[7] * BINNING.size)
            )
            await connection.execute(
                insert(traffic_count).values(
                    model_version=VERSION,
                    day=date(2025, 1, 1),
                    writer="00000000-0000-0000-0000-000000000001",
                    counts=[1] * BINNING.size,
                )
            )
        assert await counts.rebuild(BINNING) == [date(2025, 1, 1), FIRST, SECOND]
        await check(counts, stored)
        assert await counts.rebuild(BINNING) == []


async def test_a_rebuild_beside_writers_is_right(engine: AsyncEngine) -> None:
    """What is stored while it runs is neither lost nor counted twice."""
    async with postgres(engine) as (history, counts):
        before, meanwhile = varied(200), varied(200, seed=1)
        await many(history, before)
        async with engine.begin() as connection:
            await connection.execute(delete(traffic_count))

        async def write() -> None:
            for item in meanwhile:
                await history.append(item)

        await asyncio.gather(write(), counts.rebuild(BINNING), counts.rebuild(BINNING))
        await check(counts, [*before, *meanwhile])
        assert await counts.rebuild(BINNING) == []


async def test_a_rebuild_compares_counts_and_rows_of_one_moment(engine: AsyncEngine) -> None:
    """What is stored after it has read the counts, and before it reads the rows, is not taken for a mistake."""
    async with postgres(engine) as (history, counts):
        assert isinstance(counts, PostgresTrafficCounts)
        (stored,) = varied(1)
        await history.append(stored)
        day = stored.created_at.date()
        async with engine.connect() as locker, engine.connect() as observer:
            # The rebuild reads the counts and then waits for the rows.
            await locker.exec_driver_sql("LOCK TABLE prediction IN ACCESS EXCLUSIVE MODE")
            rebuild = asyncio.create_task(counts._correct(BINNING, day))
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            await eventually(lambda: observer.scalar(waiting), within=30)
            await locker.exec_driver_sql(
                "INSERT INTO prediction SELECT (jsonb_populate_record(prediction, jsonb_build_object('id',"
                " gen_random_uuid()))).* FROM prediction"
            )
            await locker.exec_driver_sql(
                "UPDATE traffic_count SET counts = ARRAY(SELECT 2 * n FROM unnest(counts) AS n)"
            )
            await locker.commit()
        assert await rebuild is False
        assert await counts.rebuild(BINNING) == []


async def test_a_version_without_a_manifest_is_stored_all_the_same(engine: AsyncEngine) -> None:
    """Its predictions are not counted, and nothing else suffers."""
    async with postgres(engine) as (history, counts):
        stored = varied(1)
        await history.append(prediction(model_version="gone"))
        await history.append(*stored)
        await check(counts, stored)


async def test_a_manifest_may_come_late(engine: AsyncEngine) -> None:
    """What was stored before it came is counted by a rebuild, and what came after it at once, in the same rows."""
    async with postgres(engine) as (history, counts):
        early = PostgresHistoryRepository(
            engine,
            queue_size=10,
            flush_timeout=5.0,
            on_flush=lambda _: None,
            counter=TrafficCounter(MemoryModelCatalogue({})),
        )
        before, after = varied(20), varied(20, seed=1)
        await many(early, before)
        await many(history, after)
        await many(early, varied(20, model_version="other"))
        await check(counts, after)
        assert await counts.rebuild(BINNING) == [FIRST, SECOND, THIRD]
        await check(counts, [*before, *after])


async def test_a_commit_that_was_lost_is_in_doubt_for_rows_and_counts_alike(engine: AsyncEngine) -> None:
    """When a flush fails, rows and counts of it are both there or both not there, and later ones are right."""
    history = PostgresHistoryRepository(
        engine, queue_size=10, flush_timeout=0.2, on_flush=lambda _: None, counter=TrafficCounter(CATALOGUE)
    )
    counts = PostgresTrafficCounts(engine)
    await history.start()
    lost, later = varied(2)
    async with engine.begin() as connection:
        await connection.execute(select(func.pg_advisory_xact_lock(1)))
        await connection.exec_driver_sql("LOCK TABLE traffic_count IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageUnavailable):
            await history.append(lost)
    await history.append(later)
    await history.stop()
    stored = [item for item in (lost, later) if await history.get(item.id) is not None]
    assert later in stored
    await check(counts, stored)


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    counts = PostgresTrafficCounts(engine)
    for call in [counts.versions(), counts.by_day(BINNING, **ALWAYS), counts.rebuild(BINNING)]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()


def test_the_builder_covers_what_matters() -> None:
    """Every feature has values on both sides of its range, and some predictions have no reference."""
    counts = sum(counted(varied(200)).values(), start=BINNING.none())
    income = BINNING.column(counts, 1)
    assert income.below
    assert income.above
    assert 0 < without_reference(counts) < rows(counts)
