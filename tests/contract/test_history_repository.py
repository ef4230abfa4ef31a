"""What every HistoryRepository keeps, whichever one it is."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import uuid_utils.compat
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, in_columns, prediction

from churn.adapters.memory import MemoryHistoryRepository, MemoryModelCatalogue
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.traffic import TrafficCounter
from churn.domain.employee import Overtime
from churn.domain.errors import StorageUnavailable
from churn.domain.prediction import ID_SLACK, HistoryFilter, Prediction, Risk, Score, id_at
from churn.domain.predictions import Predictions
from churn.ports import HistoryRepository

EVERYTHING = HistoryFilter()


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    yield MemoryHistoryRepository()


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    repository = PostgresHistoryRepository(
        engine,
        queue_size=4096,
        flush_timeout=5.0,
        on_flush=lambda _: None,
        counter=TrafficCounter(MemoryModelCatalogue({})),
    )
    await repository.start()
    yield repository
    await repository.stop()


@pytest.fixture(params=[memory, postgres])
async def history(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    make: Callable[[AsyncEngine], AbstractAsyncContextManager[HistoryRepository]] = request.param
    async with make(engine) as repository:
        yield repository


def id_of(moment: datetime) -> uuid.UUID:
    """One of that millisecond."""
    return uuid.UUID(int=id_at(moment).int | uuid_utils.compat.uuid7().int & (1 << 80) - 1)


VARIANTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "with a reference": {"employee": employee(employee_ref="E-1024")},
    "without an explanation": {"score": Score(0.0, None), "intercept": None, "risk": Risk.LOW},
    "at the edges": {"score": Score(1.0, (1e-300, -0.1, *[0.1 + 0.2] * 9)), "risk": Risk.MODERATE},
    "of another zone": {
        "created_at": datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-5)))
    },
    "out of every range": {
        "score": Score(0.5, (0.0,) * 11, tuple(range(11))),
        "employee": employee(overtime=Overtime.NO),
    },
    "in other letters": {"account": "zoé", "model_version": "modèle-2026"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
async def test_gives_back_what_was_appended(history: HistoryRepository, changes: dict) -> None:
    """A prediction comes back equal to what was appended, to the last bit."""
    appended = prediction(**changes)
    await history.append(appended)
    assert await history.get(appended.id) == appended


async def test_knows_nothing_of_an_absent_id(history: HistoryRepository) -> None:
    """An id that was never appended is None, not an error."""
    assert await history.get(uuid_utils.compat.uuid7()) is None


async def test_a_second_append_of_an_id_changes_nothing(history: HistoryRepository) -> None:
    """An id is stored once: a second prediction under it is refused and the first one stays."""
    first = prediction()
    await history.append(first)
    with pytest.raises(StorageUnavailable):
        await history.append(prediction(id=first.id, account="other"))
    assert await history.get(first.id) == first


async def blocks(*items: Sequence[Prediction]) -> AsyncIterator[Predictions]:
    for item in items:
        await asyncio.sleep(0)
        for block in in_columns(*item):
            yield block


async def ids(history: HistoryRepository) -> list[uuid.UUID]:
    return [item.id for item in await history.find(EVERYTHING, before=None, limit=1000)]


async def test_stores_many_at_once(history: HistoryRepository) -> None:
    """Every prediction of every block comes back equal to what was appended, to the last bit."""
    appended = [prediction(**changes) for changes in VARIANTS.values()]
    assert await history.append_many(blocks(appended[:4], [], appended[4:]))
    assert [await history.get(item.id) for item in appended] == appended


async def test_many_of_none_are_fine(history: HistoryRepository) -> None:
    """Storing no prediction at all stores none."""
    assert await history.append_many(blocks())
    assert await ids(history) == []


async def test_many_are_stored_together_or_not_at_all(history: HistoryRepository) -> None:
    """An id that is there already, in the history or in the run itself, keeps the whole run out; it may be repeated."""
    there, run_id = prediction(), uuid_utils.compat.uuid7()
    await history.append(there)
    good = prediction()
    for bad in ([[good], [there]], [[good], [good]]):
        with pytest.raises(StorageUnavailable):
            await history.append_many(blocks(*bad), run_id=run_id)
    assert await ids(history) == [there.id]
    assert await history.append_many(blocks([good]), run_id=run_id)
    assert await history.get(good.id) == replace(good, run_id=run_id)


async def test_a_run_is_found_again(history: HistoryRepository) -> None:
    """What a run stored is found by its id, in order, and nothing else is; what is of no run says so."""
    first, second = uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
    alone, together = prediction(), [prediction() for _ in range(3)]
    await history.append(alone)
    await history.append_many(blocks([prediction()]), run_id=second)
    await history.append_many(blocks(together[:2], together[2:]), run_id=first)
    found = await history.find(HistoryFilter(run_id=first), before=None, limit=10)
    assert [item.id for item in found] == [item.id for item in reversed(together)]
    assert {item.run_id for item in found} == {first}
    assert [item async for block in history.stream(HistoryFilter(run_id=first), before=None) for item in block] == found
    assert await history.find(HistoryFilter(run_id=first), before=together[1].id, limit=10) == found[2:]
    assert await history.find(HistoryFilter(run_id=uuid_utils.compat.uuid7()), before=None, limit=10) == []
    assert await history.get(alone.id) == alone


async def test_what_fails_while_it_is_read_is_not_stored(history: HistoryRepository) -> None:
    """An error of whoever makes the blocks passes through, and nothing is stored, nor held up."""

    async def broken() -> AsyncIterator[Predictions]:
        yield in_columns(prediction())[0]
        raise ValueError("the file ends here")

    with pytest.raises(ValueError, match="ends here"):
        await history.append_many(broken())
    assert await ids(history) == []
    assert await history.append_many(blocks([prediction()]))


async def test_what_is_cancelled_is_not_stored(history: HistoryRepository) -> None:
    """Giving up in the middle stores nothing, and the next run is not held up."""
    reading = asyncio.Event()

    async def endless() -> AsyncIterator[Predictions]:
        yield in_columns(prediction())[0]
        reading.set()
        await asyncio.Event().wait()

    run = asyncio.create_task(history.append_many(endless()))
    await reading.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await ids(history) == []
    assert await history.append_many(blocks([prediction()]))


async def test_a_run_is_stored_once(history: HistoryRepository) -> None:
    """A run that is stored already is neither stored again nor read, however many try it at once."""
    run_id = uuid_utils.compat.uuid7()
    stored = await asyncio.gather(
        *(history.append_many(blocks([prediction(), prediction()]), run_id=run_id) for _ in range(3))
    )
    assert sorted(stored) == [False, False, True]
    assert len(await ids(history)) == 2
    assert not await history.append_many(blocks([prediction()]), run_id=run_id)
    assert len(await ids(history)) == 2
    assert await history.append_many(blocks([prediction()]), run_id=uuid_utils.compat.uuid7())
    assert len(await ids(history)) == 3


async def test_finds_newest_first_page_by_page(history: HistoryRepository) -> None:
    """Pages by cursor hold every prediction once, newest id first."""
    appended = [prediction() for _ in range(7)]
    for item in reversed(appended):
        await history.append(item)
    pages, before = [], None
    while page := await history.find(EVERYTHING, before=before, limit=3):
        pages.append([item.id for item in page])
        before = page[-1].id
    newest_first = [item.id for item in reversed(appended)]
    assert pages == [newest_first[:3], newest_first[3:6], newest_first[6:]]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (HistoryFilter(since=datetime(2026, 3, 2, tzinfo=UTC)), {1, 2}),
        (HistoryFilter(until=datetime(2026, 3, 2, tzinfo=UTC)), {0}),
        (
            HistoryFilter(since=datetime(2026, 3, 2, tzinfo=UTC), until=datetime(2026, 3, 3, tzinfo=UTC)),
            {1},
        ),
        (HistoryFilter(until=datetime(2026, 3, 3, 0, 0, 1, tzinfo=UTC)), {0, 1, 2}),
        (HistoryFilter(since=datetime.min.replace(tzinfo=UTC), until=datetime.max.replace(tzinfo=UTC)), {0, 1, 2}),
        (HistoryFilter(model_version="b"), {2}),
        (HistoryFilter(model_version="c"), set()),
        (HistoryFilter(model_version="b", since=datetime(2026, 3, 4, tzinfo=UTC)), set()),
        (HistoryFilter(leaves=True), {0, 2}),
        (HistoryFilter(leaves=False), {1}),
        (HistoryFilter(employee_ref="E-1"), {1}),
        (HistoryFilter(account="bob"), {0, 1}),
        (HistoryFilter(account="bob", leaves=True), {0}),
        (HistoryFilter(account="nobody"), set()),
    ],
)
async def test_finds_what_meets_every_criterion(
    history: HistoryRepository, criteria: HistoryFilter, expected: set[int]
) -> None:
    """A filter keeps exactly the predictions that meet all of it; `since` is inclusive, `until` exclusive."""
    day = datetime(2026, 3, 1, tzinfo=UTC)
    appended = [
        prediction(id=id_of(day), created_at=day, account="bob"),
        prediction(
            id=id_of(day + timedelta(days=1)),
            created_at=day + timedelta(days=1),
            account="bob",
            risk=Risk.MODERATE,
            employee=employee(employee_ref="E-1"),
        ),
        prediction(
            # Made by a clock that was set since.
            id=id_of(day + timedelta(days=2) + ID_SLACK),
            created_at=day + timedelta(days=2),
            model_version="b",
        ),
    ]
    for item in appended:
        await history.append(item)
    found = await history.find(criteria, before=None, limit=10)
    assert {item.id for item in found} == {appended[index].id for index in expected}


async def everything(
    history: HistoryRepository, criteria: HistoryFilter = EVERYTHING, **options: Any
) -> list[Prediction]:
    found: list[Prediction] = []
    async for block in history.stream(criteria, **{"before": None} | options):
        assert block
        found += block
    return found


async def test_streams_what_it_finds(history: HistoryRepository) -> None:
    """A stream holds all that `find` would find page by page, in its order, block by block."""
    appended = [prediction(account="anne" if number % 3 else "bob") for number in range(700)]
    await history.append_many(blocks(appended))
    newest_first = appended[::-1]
    assert await everything(history) == newest_first
    assert await everything(history, before=appended[400].id) == newest_first[300:]
    assert await everything(history, HistoryFilter(account="bob")) == [
        item for item in newest_first if item.account == "bob"
    ]
    assert await everything(history, HistoryFilter(account="nobody")) == []


async def test_a_stream_shows_the_past_as_it_was(history: HistoryRepository) -> None:
    """What is stored after a stream has begun is not in it."""
    appended = [prediction() for _ in range(600)]
    await history.append_many(blocks(appended))
    stream = history.stream(EVERYTHING, before=None)
    found = list(await anext(stream))
    await history.append(prediction())
    await history.append(prediction(id=uuid.UUID(int=1)))
    found += [item async for block in stream for item in block]
    assert found == appended[::-1]


async def test_a_stream_may_be_left(history: HistoryRepository) -> None:
    """Streams that are closed before their end hold nothing up."""
    await history.append_many(blocks([prediction() for _ in range(600)]))
    for _ in range(20):
        stream = history.stream(EVERYTHING, before=None)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # the port says only what is needed to read it
    assert len(await everything(history)) == 600


async def test_a_walk_survives_a_clock_that_is_set_back(history: HistoryRepository) -> None:
    """Whoever turns the pages while rows of an earlier time come in, as after the clock was set back, sees each row
    that was there when they began, once, and none twice."""
    there = [prediction(id=uuid.UUID(f"01990000-0000-7000-8000-{number:012d}")) for number in range(20)]
    for item in there:
        await history.append(item)
    seen: list[uuid.UUID] = []
    before, hour = None, 0x3600
    while page := await history.find(EVERYTHING, before=before, limit=3):
        seen += [item.id for item in page]
        before = page[-1].id
        if hour:
            hour -= 0x600
            await history.append(prediction(id=uuid.UUID(f"01980000-{hour:04x}-7000-8000-{0:012d}")))
            await history.append(prediction(id=uuid.UUID(f"01990000-0001-7000-8000-{hour:012d}")))
    assert len(seen) == len(set(seen))
    assert {item.id for item in there} <= set(seen)
    assert seen == sorted(seen, reverse=True)
