"""What every `ModelRegistry` must do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.memory import MemoryModelRegistry
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.models import PostgresModelRegistry
from churn.domain.activation import Activation
from churn.domain.errors import ActivationConflict, StorageUnavailable
from churn.ports import ModelRegistry


def activation(number: int, **changes: Any) -> Activation:
    values: dict[str, Any] = {
        "number": number,
        "at": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC),
        "account": "root",
        "action": "activate",
        "previous": "a",
        "version": "b",
        "shadow": None,
        "reason": "Meilleure calibration.",
    }
    return Activation(**values | changes)


@pytest.fixture(params=["memory", "postgres"])
def registry(request: pytest.FixtureRequest, engine: AsyncEngine) -> ModelRegistry:
    return MemoryModelRegistry() if request.param == "memory" else PostgresModelRegistry(engine)


@asynccontextmanager
async def heard(registry: ModelRegistry) -> AsyncIterator[AsyncIterator[object]]:
    """The changes from here on, read up to the first item."""
    async with asyncio.timeout(10), aclosing(registry.changes()) as changes:
        await anext(changes)
        yield changes


def test_it_fills_the_port(registry: ModelRegistry) -> None:
    """It has the methods of the port."""
    assert isinstance(registry, ModelRegistry)


async def test_an_empty_log_names_nothing(registry: ModelRegistry) -> None:
    """As long as nobody has decided, nothing is in force."""
    assert await registry.current() is None
    assert await registry.log() == []


async def test_entries_come_back_in_order_and_the_last_is_in_force(registry: ModelRegistry) -> None:
    """Every entry comes back equal to what was appended, oldest first."""
    entries = [
        activation(1, previous=None),
        activation(2, action="shadow", shadow="c", reason=""),
        activation(3, action="roll_back", version=None, account="cli:root"),
    ]
    for number, entry in enumerate(entries, start=1):
        await registry.append(entry)
        assert await registry.current() == entry
        assert await registry.log() == entries[:number]


async def test_a_number_is_taken_once(registry: ModelRegistry) -> None:
    """Of those who append after the same entry one is first; the others are refused and change nothing."""
    await registry.append(activation(1))
    answers = await asyncio.gather(
        *(registry.append(activation(2, version=f"v{number}")) for number in range(4)), return_exceptions=True
    )
    assert [type(answer) for answer in answers if answer is not None] == [ActivationConflict] * 3
    (first,) = [number for number, answer in enumerate(answers) if answer is None]
    assert [entry.version for entry in await registry.log()] == ["b", f"v{first}"]


async def test_every_listener_hears_each_entry_and_can_read_it(registry: ModelRegistry) -> None:
    """Who hears of an entry and looks sees it; one listener does not take it from another."""
    async with heard(registry) as first, heard(registry) as second:
        for number in range(1, 4):
            await registry.append(activation(number))
            for changes in (first, second):
                await anext(changes)
                entry = await registry.current()
                assert entry is not None
                assert entry.number == number


async def test_what_was_refused_is_not_announced(registry: ModelRegistry) -> None:
    """A conflict is no change."""
    await registry.append(activation(1))
    async with heard(registry) as changes:
        with pytest.raises(ActivationConflict):
            await registry.append(activation(1))
        item = asyncio.ensure_future(anext(changes))
        done, _ = await asyncio.wait([item], timeout=0.2)
        assert not done
        await registry.append(activation(2))
        await item


# What only a real server can show.


async def test_a_lost_connection_is_made_anew(engine: AsyncEngine) -> None:
    """After the server has dropped the listener an item says that some may have been missed; then all is well."""
    registry = PostgresModelRegistry(engine)
    async with heard(registry) as changes:
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
            )
        await anext(changes)
        await registry.append(activation(1))
        await anext(changes)


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    registry = PostgresModelRegistry(engine)
    for call in [registry.current(), registry.log(), registry.append(activation(1))]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
