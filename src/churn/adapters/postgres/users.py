"""Accounts in PostgreSQL, and the announcement of every change to every process."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churn.adapters.postgres.announcements import announcements
from churn.adapters.postgres.audit import remember
from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import account as table
from churn.domain.account import Account, Role, is_username
from churn.domain.audit import AuditEvent
from churn.domain.errors import LastAdmin, UnknownAccount, UsernameTaken

#: Of `NOTIFY`; the payload is the username. Every release must keep it: old and new run side by side.
CHANNEL: Final = "account_changed"


class PostgresUserStore:
    """Fills the port `UserStore`."""

    def __init__(self, engine: AsyncEngine, *, keepalive: float = 30.0) -> None:
        """`keepalive` is how many seconds `changes` may hear nothing before it checks its connection."""
        self._engine = engine
        self._keepalive = keepalive

    async def add(self, account: Account, *, audit: AuditEvent | None = None) -> None:
        """See the port."""
        statement = insert(table).values(msgspec.structs.asdict(account)).on_conflict_do_nothing().returning(table)
        with storage_errors():
            async with self._engine.begin() as connection:
                if (await connection.execute(statement)).one_or_none() is None:
                    raise UsernameTaken(account.username)
                await remember(connection, audit)

    async def get(self, username: str) -> Account | None:
        """See the port."""
        # Also because not every string is text to PostgreSQL.
        if not is_username(username):
            return None
        with storage_errors():
            async with self._engine.connect() as connection:
                return await _read(connection, username)

    async def all(self) -> Sequence[Account]:
        """See the port."""
        # The order of code points, whatever the database's collation.
        statement = select(table).order_by(table.c.username.collate("C"))
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [_from_row(row) for row in rows]

    async def update(
        self,
        username: str,
        *,
        password_hash: str | UnsetType = UNSET,
        role: Role | UnsetType = UNSET,
        disabled: bool | UnsetType = UNSET,
        if_password_hash: str | UnsetType = UNSET,
        audit: AuditEvent | None = None,
    ) -> Account:
        """See the port."""
        if not is_username(username):
            raise UnknownAccount(username)
        changes = {"password_hash": password_hash, "role": role, "disabled": disabled}
        statement = (
            update(table)
            .where(table.c.username == username)
            .values(username=username, **{name: value for name, value in changes.items() if value is not UNSET})
            .returning(table)
        )
        if if_password_hash is not UNSET:
            statement = statement.where(table.c.password_hash == if_password_hash)
        with storage_errors():
            async with self._engine.begin() as connection:
                if role is Role.ANALYST or disabled is True:
                    await _keep_an_admin_besides(connection, username)
                row = (await connection.execute(statement)).one_or_none()
                if row is not None:
                    await connection.execute(select(func.pg_notify(CHANNEL, username)))
                    await remember(connection, audit)
                    return _from_row(row)
                account = await _read(connection, username)
        if account is None:
            raise UnknownAccount(username)
        return account

    def changes(self) -> AsyncIterator[str | None]:
        """See the port."""
        return announcements(self._engine, CHANNEL, keepalive=self._keepalive)


def _from_row(row: Row[Any]) -> Account:
    return msgspec.convert(row, Account, from_attributes=True)


async def _read(connection: AsyncConnection, username: str) -> Account | None:
    row = (await connection.execute(select(table).where(table.c.username == username))).one_or_none()
    return None if row is None else _from_row(row)


async def _keep_an_admin_besides(connection: AsyncConnection, username: str) -> None:
    """Refuse to go on if no other account is an enabled admin.

    Locks them all, in one order: of two admins who demote each other at the same time, one has to wait and
    then sees what the other has done.

    Raises:
        LastAdmin: `username` is the only one.
    """
    admins = (
        select(table.c.username)
        .where(table.c.role == Role.ADMIN, table.c.disabled.is_(False))
        .order_by(table.c.username)
        .with_for_update()
    )
    if (await connection.execute(admins)).scalars().all() == [username]:
        raise LastAdmin(username)
