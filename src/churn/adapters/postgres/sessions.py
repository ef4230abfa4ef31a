"""Sessions of the console in PostgreSQL, so that every process knows every one of them."""

from datetime import datetime

import msgspec
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.dml import UpdateBase

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import session as table
from churn.domain.session import Session


class PostgresSessionStore:
    """Fills the port `SessionStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, session: Session) -> None:
        """See the port."""
        await self._execute(insert(table).values(msgspec.structs.asdict(session)))

    async def get(self, digest: bytes) -> Session | None:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(table).where(table.c.digest == digest))).one_or_none()
        return None if row is None else msgspec.convert(row, Session, from_attributes=True)

    async def touch(self, digest: bytes, seen_at: datetime) -> None:
        """See the port."""
        await self._execute(
            update(table).where(table.c.digest == digest, table.c.seen_at < seen_at).values(seen_at=seen_at)
        )

    async def end(self, digest: bytes) -> None:
        """See the port."""
        await self._execute(delete(table).where(table.c.digest == digest))

    async def purge(self, *, created_before: datetime, seen_before: datetime) -> None:
        """See the port."""
        await self._execute(
            delete(table).where(or_(table.c.created_at < created_before, table.c.seen_at < seen_before))
        )

    async def _execute(self, statement: UpdateBase) -> None:
        with storage_errors():
            async with self._engine.begin() as connection:
                await connection.execute(statement)
