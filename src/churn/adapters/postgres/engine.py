"""The connection pool, and what a database error means to the rest of the service."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from churn.domain.errors import StorageUnavailable

#: Seconds to wait for a connection, from the server and from the pool: a client that is told 503 with
#: `Retry-After` is better off than one that hangs.
CONNECT_TIMEOUT: Final = 3.0
#: Seconds that a connection that has been idle has to show that it still works, before a new one is made.
PING_TIMEOUT: Final = 1.0
#: Seconds that a statement of a request may take before asyncpg cancels it; a migration has no such limit.
STATEMENT_TIMEOUT: Final = 30.0
#: What comes of a lost connection. The last is asyncpg's word for one that ended between two steps of its protocol.
_DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncpg.InternalClientError)


def create_engine(url: str, *, pool_size: int, statement_timeout: float | None = STATEMENT_TIMEOUT) -> AsyncEngine:
    """An engine for `url` (`postgresql+asyncpg://…`).

    It connects when first used, never holds more than `pool_size` connections, and checks each one before
    lending it, so that a restart of the server costs no request more than the ones under way.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": statement_timeout,
            "server_settings": {"application_name": "churn", "timezone": "UTC"},
        },
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _check)
    return engine


def _check(connection: Any, record: ConnectionPoolEntry, _: object) -> None:  # noqa: ANN401 - the adapted connection
    """Find out whether `connection` still works, in one round trip and in time.

    `pool_pre_ping` takes three, and waits for a server that hangs as long as for a statement.
    """
    if "used" in record.info:
        try:
            connection.run_async(lambda driver: driver.fetchrow(";", timeout=PING_TIMEOUT))
        except _DRIVER_ERRORS as error:
            connection.run_async(_terminate)
            raise DisconnectionError from error
    record.info["used"] = True


async def _terminate(driver: "asyncpg.Connection[asyncpg.Record]") -> None:
    # At once: a server that hangs does not answer a goodbye either.
    driver.terminate()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn whatever the database or the way to it raises into `StorageUnavailable`.

    `IntegrityError` passes: only the adapter knows what a violated constraint means.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeoutError, *_DRIVER_ERRORS) as error:
        raise StorageUnavailable("the database does not answer") from error


_shared: ContextVar[AsyncConnection | None] = ContextVar("shared transaction", default=None)


@asynccontextmanager
async def shared_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that whatever asks for a `connection` or a `transaction` in this task takes part in."""
    async with engine.begin() as connection:
        token = _shared.set(connection)
        try:
            yield connection
        finally:
            _shared.reset(token)


@asynccontextmanager
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """The connection of the shared transaction that is under way, or one of its own."""
    if (shared := _shared.get()) is not None:
        yield shared
        return
    async with engine.connect() as own:
        yield own


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """The shared transaction that is under way, or one of its own, committed at the end."""
    if (shared := _shared.get()) is not None:
        yield shared
        return
    async with engine.begin() as own:
        yield own


async def answers(engine: AsyncEngine) -> bool:
    """Whether the database takes a connection and answers a query."""
    with storage_errors():
        async with engine.connect() as connection:
            return bool((await connection.execute(select(1))).scalar_one())
