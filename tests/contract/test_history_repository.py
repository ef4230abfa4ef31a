"""What every HistoryRepository keeps, whichever one it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils.compat
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction

from churn.adapters.memory import MemoryHistoryRepository
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.domain.errors import StorageUnavailable
from churn.domain.prediction import HistoryFilter, Risk, Score
from churn.ports import HistoryRepository

EVERYTHING = HistoryFilter()


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    yield MemoryHistoryRepository()


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    repository = PostgresHistoryRepository(engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None)
    await repository.start()
    yield repository
    await repository.stop()


@pytest.fixture(params=[memory, postgres])
async def history(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[HistoryRepository]:
    make: Callable[[AsyncEngine], AbstractAsyncContextManager[HistoryRepository]] = request.param
    async with make(engine) as repository:
        yield repository


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"employee": employee(employee_ref="E-1024")},
        {"score": Score(0.0, None), "intercept": None, "risk": Risk.LOW},
        {"score": Score(1.0, (1e-300, -0.1, *[0.1 + 0.2] * 9)), "risk": Risk.MODERATE},
    ],
    ids=["usual", "with a reference", "without an explanation", "at the edges"],
)
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
        (HistoryFilter(model_version="b"), {2}),
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
        prediction(created_at=day, account="bob"),
        prediction(
            created_at=day + timedelta(days=1),
            account="bob",
            risk=Risk.MODERATE,
            employee=employee(employee_ref="E-1"),
        ),
        prediction(created_at=day + timedelta(days=2), model_version="b"),
    ]
    for item in appended:
        await history.append(item)
    found = await history.find(criteria, before=None, limit=10)
    assert {item.id for item in found} == {appended[index].id for index in expected}
