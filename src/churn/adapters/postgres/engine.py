"""The connection pool, and what a database error means to the rest of the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from churn.domain.errors import StorageUnavailable

#: Seconds to wait for a connection, from the server and from the pool: a client that is told 503 with
#: `Retry-After` is better off than one that hangs.
CONNECT_TIMEOUT: Final = 3.0
#: Seconds that a statement of a request may take before asyncpg cancels it; a migration has no such limit.
STATEMENT_TIMEOUT: Final = 30.0


def create_engine(url: str, *, pool_size: int, statement_timeout: float | None = STATEMENT_TIMEOUT) -> AsyncEngine:
    """An engine for `url` (`postgresql+asyncpg://…`).

    It connects when first used, never holds more than `pool_size` connections, and checks each one before
    lending it, so that a restart of the server costs no request more than the ones under way.
    """
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        pool_pre_ping=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": statement_timeout,
            "server_settings": {"application_name": "churn", "timezone": "UTC"},
        },
        hide_parameters=True,
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn whatever the database or the way to it raises into `StorageUnavailable`.

    `IntegrityError` passes: only the adapter knows what a violated constraint means.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StorageUnavailable("the database does not answer") from error


async def answers(engine: AsyncEngine) -> bool:
    """Whether the database takes a connection and answers a query."""
    with storage_errors():
        async with engine.connect() as connection:
            return bool((await connection.execute(select(1))).scalar_one())
