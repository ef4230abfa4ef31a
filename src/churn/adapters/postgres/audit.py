"""Who did what, in PostgreSQL."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import audit_entry as table
from churn.domain.audit import GENESIS, AuditEntry, AuditEvent, link

#: Key of the advisory lock that lets one transaction append at a time. Every release must keep it.
_LOCK_KEY: Final = int.from_bytes(b"audit")


async def remember(connection: AsyncConnection, *events: AuditEvent | None) -> None:
    """Append `events`, but for None, in the transaction of `connection`.

    The last thing in a transaction: until it ends, everyone else who appends waits.
    """
    given = [event for event in events if event is not None]
    if not given:
        return
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
    newest = select(table.c.number, table.c.hash).order_by(table.c.number.desc()).limit(1)
    last = (await connection.execute(newest)).one_or_none()
    number, previous = (0, GENESIS) if last is None else (last.number, last.hash)
    entries = []
    for event in given:
        entry = link(event, number=number + 1, previous=previous)
        number, previous = entry.number, entry.hash
        entries.append(msgspec.structs.asdict(entry))
    await connection.execute(insert(table), entries)


class PostgresAuditTrail:
    """Fills the port `AuditTrail`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """See the port."""
        with storage_errors():
            async with self._engine.begin() as connection:
                await remember(connection, *events)

    async def page(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """See the port."""
        statement = select(table).order_by(table.c.number.desc()).limit(limit)
        if before is not None:
            statement = statement.where(table.c.number < before)
        with storage_errors():
            async with self._engine.connect() as connection:
                return [_from_row(row) for row in await connection.execute(statement)]

    async def entries(self, *, after: int, limit: int) -> Sequence[AuditEntry]:
        """See the port."""
        statement = select(table).where(table.c.number > after).order_by(table.c.number).limit(limit)
        with storage_errors():
            async with self._engine.connect() as connection:
                return [_from_row(row) for row in await connection.execute(statement)]


def _from_row(row: Row[Any]) -> AuditEntry:
    return msgspec.convert(row, AuditEntry, from_attributes=True)
