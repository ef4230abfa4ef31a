"""What every `AlertLog` must do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.memory import MemoryAlertLog
from churn.adapters.postgres.alerts import PostgresAlertLog
from churn.adapters.postgres.engine import create_engine
from churn.domain.alert import Alert, State, Subject
from churn.domain.errors import AlertConflict, StorageUnavailable
from churn.ports import AlertLog

AT = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
FIRST = Alert(
    number=1, at=AT, subject=Subject.DRIFT, state=State.ALARM, model_version="a", reasons=("age", "revenu_mensuel")
)


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[AlertLog]:
    yield MemoryAlertLog()


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[AlertLog]:
    yield PostgresAlertLog(engine)


@pytest.fixture(params=[memory, postgres])
async def alerts(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[AlertLog]:
    async with request.param(engine) as alerts:
        yield alerts


async def test_the_last_entry_holds(alerts: AlertLog) -> None:
    """It comes back equal to what was appended, subject by subject; at first there is none."""
    assert await alerts.last(Subject.DRIFT) is None
    await alerts.append(FIRST)
    second = replace(FIRST, number=2, state=State.OK, reasons=())
    assert await alerts.last(Subject.DRIFT) == FIRST
    await alerts.append(second)
    assert await alerts.last(Subject.DRIFT) == second
    assert await alerts.last(Subject.PERFORMANCE) is None
    await alerts.append(replace(FIRST, subject=Subject.PERFORMANCE))
    assert await alerts.last(Subject.DRIFT) == second


async def test_a_number_is_taken_once(alerts: AlertLog) -> None:
    """Also when many append at once: one of them wins, and the others know."""
    appends = [alerts.append(replace(FIRST, model_version=str(n))) for n in range(4)]
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlertConflict"] * 3 + ["NoneType"]
    with pytest.raises(AlertConflict):
        await alerts.append(FIRST)


async def test_the_first_delivery_stays(alerts: AlertLog) -> None:
    """A second one, of an entry that was sent twice, does not change when it was delivered."""
    await alerts.append(FIRST)
    await alerts.confirm(FIRST, delivered_at=AT)
    await alerts.confirm(FIRST, delivered_at=AT + timedelta(hours=1))
    assert await alerts.last(Subject.DRIFT) == replace(FIRST, delivered_at=AT)


# What only a real server can show.


@pytest.mark.parametrize(
    "call",
    [
        lambda alerts: alerts.last(Subject.DRIFT),
        lambda alerts: alerts.append(FIRST),
        lambda alerts: alerts.confirm(FIRST, delivered_at=AT),
    ],
    ids=["last", "append", "confirm"],
)
async def test_a_server_that_does_not_answer_makes_storage_unavailable(
    unused_tcp_port: int, call: Callable[[AlertLog], Awaitable[object]]
) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    with pytest.raises(StorageUnavailable):
        await call(PostgresAlertLog(engine))
    await engine.dispose()
