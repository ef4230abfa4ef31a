"""Answers that are kept, in PostgreSQL, in the transaction of what they tell of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.engine import shared_transaction, storage_errors
from churn.adapters.postgres.tables import kept_answer
from churn.domain.answer import Answer
from churn.domain.errors import AnswerErased, KeyReused, StorageUnavailable
from churn.ports import Attempt


class PostgresAnswerStore:
    """Fills the port `AnswerStore`."""

    def __init__(self, engine: AsyncEngine, *, concurrency: int, lock_timeout: float) -> None:
        """At most `concurrency` attempts are under way; each holds a connection of the pool to its end.

        None waits longer than `lock_timeout` seconds for a lock that another transaction holds, nor longer for its
        turn than two that wait so before it.
        """
        self._engine = engine
        self._turn_timeout = 2 * lock_timeout
        self._free = asyncio.Semaphore(concurrency)
        self._lock_timeout = func.set_config("lock_timeout", f"{lock_timeout * 1000:.0f}", True)

    @asynccontextmanager
    async def attempt(self, key: bytes, fingerprint: bytes, *, at: datetime) -> AsyncIterator[Attempt]:
        """See the port."""
        with storage_errors():
            async with self._turn(), shared_transaction(self._engine) as connection:
                await connection.execute(select(self._lock_timeout))
                claim = insert(kept_answer).values(key=key, fingerprint=fingerprint, kept_at=at)
                # Where another holds the key, this waits until it has committed or has failed.
                claimed = await connection.execute(claim.on_conflict_do_nothing().returning(kept_answer.c.key))
                if claimed.one_or_none() is None:
                    yield Attempt(await _kept(connection, key, fingerprint))
                    return
                attempt = Attempt(None)
                yield attempt
                if attempt.answer is not None:
                    values = {"media_type": attempt.answer.media_type, "body": attempt.answer.body}
                    await connection.execute(update(kept_answer).where(kept_answer.c.key == key).values(values))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._turn_timeout):
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def purge(self, *, before: datetime) -> None:
        """See the port."""
        with storage_errors():
            async with self._engine.begin() as connection:
                await connection.execute(delete(kept_answer).where(kept_answer.c.kept_at < before))


async def _kept(connection: AsyncConnection, key: bytes, fingerprint: bytes) -> Answer:
    row = (await connection.execute(select(kept_answer).where(kept_answer.c.key == key))).one_or_none()
    if row is None:
        raise StorageUnavailable("the key has expired at this moment")
    if row.fingerprint != fingerprint:
        raise KeyReused
    if row.body is None:
        raise AnswerErased
    return Answer(row.media_type, row.body)
