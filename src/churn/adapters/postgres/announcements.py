"""What other processes announce through PostgreSQL's `NOTIFY`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import asyncpg
import structlog
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.domain.errors import StorageUnavailable

#: Seconds before a lost connection is made anew: the first time, and at most.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
#: Seconds that the server may take to say that it is still there.
_ANSWER_TIMEOUT: Final = 5.0

_log = structlog.get_logger()


async def announcements(engine: AsyncEngine, channel: str, *, keepalive: float) -> AsyncIterator[str | None]:
    """The payload of each `NOTIFY` on `channel`, from the first `anext` on, for ever.

    None means that some may have been missed: the connection has just been made, for the first time or anew.

    Args:
        engine: where to listen, on a connection of its own beside the pool.
        channel: what to listen to.
        keepalive: seconds to hear nothing before asking whether the server is still there.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            with storage_errors():
                async with _listening(engine, channel) as (listener, announced):
                    yield None
                    pause = _FIRST_PAUSE
                    while True:
                        try:
                            async with asyncio.timeout(keepalive):
                                payload = await announced.get()
                        except TimeoutError:
                            # A connection can die without a word.
                            await listener.execute("SELECT 1", timeout=_ANSWER_TIMEOUT)
                        else:
                            yield payload
        except StorageUnavailable as error:
            _log.warning("announcements cannot be heard", channel=channel, cause=type(error.__cause__).__name__)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


@asynccontextmanager
async def _listening(engine: AsyncEngine, channel: str) -> AsyncIterator[tuple[asyncpg.Connection, asyncio.Queue[str]]]:
    """A connection that listens, and the payloads that it hears; the queue is shut down if it is lost."""
    announced: asyncio.Queue[str] = asyncio.Queue()
    async with engine.connect() as connection:
        listener = cast("asyncpg.Connection", (await connection.get_raw_connection()).driver_connection)
        # The pool gets its place back: this connection is not for queries, and lives as long as the process.
        await connection.run_sync(Connection.detach)
        try:
            listener.add_termination_listener(lambda _: announced.shutdown())
            await listener.add_listener(channel, lambda *announcement: announced.put_nowait(announcement[-1]))
            yield listener, announced
        except asyncio.QueueShutDown:
            raise ConnectionResetError("the connection was lost") from None
        finally:
            # Without a farewell, which the server may not answer.
            listener.terminate()
