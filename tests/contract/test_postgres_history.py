"""What group commit adds to the contract of a history."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import in_columns, prediction, stored_together

from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.domain.errors import HistoryQueueFull, StorageUnavailable, TooManyExports
from churn.domain.prediction import HistoryFilter
from churn.domain.predictions import Predictions
from churn.ports import HistoryFlush


def ignore(_: HistoryFlush) -> None:
    pass


async def test_commits_in_groups(engine: AsyncEngine) -> None:
    """Predictions that arrive together are committed together, and each is stored."""
    flushes: list[HistoryFlush] = []
    history = PostgresHistoryRepository(engine, queue_size=1000, flush_timeout=5.0, on_flush=flushes.append)
    await history.start()
    await asyncio.gather(*(history.append(prediction()) for _ in range(200)))
    await history.stop()
    assert sum(flush.rows for flush in flushes) == 200
    assert len(flushes) <= 3
    assert len(await history.find(HistoryFilter(), before=None, limit=1000)) == 200


async def test_one_row_at_fault_fails_alone(engine: AsyncEngine) -> None:
    """A row that breaks a constraint fails its own request and none of those that share its commit."""
    history = PostgresHistoryRepository(engine, queue_size=1000, flush_timeout=5.0, on_flush=ignore)
    await history.start()
    taken = prediction()
    await history.append(taken)
    good = [prediction() for _ in range(5)]
    results = await asyncio.gather(
        *(history.append(item) for item in [*good[:2], taken, *good[2:]]), return_exceptions=True
    )
    await history.stop()
    assert [type(result) for result in results] == [*[type(None)] * 2, StorageUnavailable, *[type(None)] * 3]
    assert [await history.get(item.id) for item in good] == good


async def test_refuses_what_it_cannot_queue(engine: AsyncEngine) -> None:
    """A full queue refuses at once; what was accepted before is stored, and one line says how many were refused."""
    history = PostgresHistoryRepository(engine, queue_size=3, flush_timeout=5.0, on_flush=ignore)
    accepted = [prediction() for _ in range(3)]
    history.admit()
    waiting = [asyncio.create_task(history.append(item)) for item in accepted]
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(HistoryQueueFull):
            history.admit()
    with pytest.raises(HistoryQueueFull):
        await history.append(prediction())
    with structlog.testing.capture_logs() as logs:
        await history.start()
        await asyncio.gather(*waiting)
        history.admit()
        await history.append(prediction())
        await history.stop()
    assert [line["refused"] for line in logs if "refused" in line] == [3]
    assert [await history.get(item.id) for item in accepted] == accepted


async def test_stop_writes_what_has_queued(engine: AsyncEngine) -> None:
    """A stop drains the queue, answers everyone, and refuses what comes later."""
    history = PostgresHistoryRepository(engine, queue_size=10, flush_timeout=5.0, on_flush=ignore)
    items = [prediction() for _ in range(4)]
    waiting = [asyncio.create_task(history.append(item)) for item in items]
    await asyncio.sleep(0)
    await history.start()
    await history.stop()
    await asyncio.gather(*waiting)
    with pytest.raises(HistoryQueueFull):
        await history.append(prediction())
    assert [await history.get(item.id) for item in items] == items


async def test_a_run_that_two_processes_try_is_stored_once(engine: AsyncEngine) -> None:
    """Two repositories, as in two processes, store one run between them: the second waits for the first."""
    one, other = (
        PostgresHistoryRepository(engine, queue_size=10, flush_timeout=5.0, on_flush=ignore) for _ in range(2)
    )
    run_id, writing, done = uuid4(), asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[Predictions]:
        writing.set()
        await done.wait()
        yield in_columns(prediction())[0]

    async def quick() -> AsyncIterator[Predictions]:
        yield in_columns(prediction())[0]

    first = asyncio.create_task(one.append_many(slow(), run_id=run_id))
    await writing.wait()
    second = asyncio.create_task(other.append_many(quick(), run_id=run_id))
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(20), engine.connect() as connection:
        while not await connection.scalar(blocked):
            pass
    done.set()
    assert [await first, await second] == [True, False]
    assert len(await one.find(HistoryFilter(), before=None, limit=10)) == 1


async def test_goes_on_after_its_connection_was_cut(engine: AsyncEngine) -> None:
    """When the server cuts the writer's connection, the next append stores on a new one."""
    history = PostgresHistoryRepository(engine, queue_size=10, flush_timeout=5.0, on_flush=ignore)
    await history.start()
    await history.append(prediction())
    async with engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()"
            )
        )
    item = prediction()
    try:
        await history.append(item)
    except StorageUnavailable:  # the cut was noticed only while writing
        await history.append(item := prediction())
    await history.stop()
    assert await history.get(item.id) == item


async def test_a_flush_that_takes_too_long_fails_its_requests(engine: AsyncEngine) -> None:
    """A table that is locked makes the requests fail in time, and the writer recovers once it is free."""
    flushes: list[HistoryFlush] = []
    history = PostgresHistoryRepository(engine, queue_size=10, flush_timeout=0.2, on_flush=flushes.append)
    await history.start()
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE prediction IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StorageUnavailable):
            await history.append(prediction())
    item = prediction()
    await history.append(item)
    await history.stop()
    assert await history.get(item.id) == item
    assert [flush.failed for flush in flushes] == [1, 0]


async def test_a_client_that_has_gone_does_not_stop_the_others(engine: AsyncEngine) -> None:
    """Cancelling one waiting request neither loses its neighbours' rows nor stops the writer."""
    history = PostgresHistoryRepository(engine, queue_size=10, flush_timeout=5.0, on_flush=ignore)
    items = [prediction() for _ in range(3)]
    waiting = [asyncio.create_task(history.append(item)) for item in items]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await history.start()
    await asyncio.gather(waiting[0], waiting[2])
    await history.stop()
    assert [await history.get(item.id) for item in (items[0], items[2])] == [items[0], items[2]]


async def filled(engine: AsyncEngine) -> PostgresHistoryRepository:
    history = PostgresHistoryRepository(engine, queue_size=10, flush_timeout=5.0, on_flush=ignore)

    await stored_together(history, *(prediction() for _ in range(1000)))
    return history


async def test_streams_take_nothing_from_the_pool_and_are_counted(engine: AsyncEngine) -> None:
    """Four streams may be open at once, all of them beside the pool; the fifth is refused until one has ended."""
    history = await filled(engine)
    streams = [history.stream(HistoryFilter(), before=None) for _ in range(4)]
    for stream in streams:
        await anext(stream)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with pytest.raises(TooManyExports):
        await anext(history.stream(HistoryFilter(), before=None))
    await streams[0].aclose()
    another = history.stream(HistoryFilter(), before=None)
    await anext(another)
    for stream in (*streams, another):
        await stream.aclose()
    async with engine.connect() as connection:
        open_ones = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        async with asyncio.timeout(20):
            while await connection.scalar(open_ones):
                pass


async def test_a_stream_that_breaks_says_so(engine: AsyncEngine) -> None:
    """When the server ends the connection in the middle, the next block is an error and not the end."""
    history = await filled(engine)
    stream = history.stream(HistoryFilter(), before=None)
    await anext(stream)
    async with engine.begin() as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        )
    with pytest.raises(StorageUnavailable):
        async for _ in stream:
            pass
