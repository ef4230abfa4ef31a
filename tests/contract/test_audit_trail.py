"""What every `AuditTrail` must do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.memory import MemoryAuditTrail, MemoryModelRegistry, MemoryUserStore
from churn.adapters.postgres.audit import PostgresAuditTrail, remember
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.models import PostgresModelRegistry
from churn.adapters.postgres.tables import audit_entry as table
from churn.adapters.postgres.users import PostgresUserStore
from churn.domain.account import Account, Role
from churn.domain.activation import Activation
from churn.domain.audit import AuditEntry, AuditEvent, Breach, Chain
from churn.domain.errors import ActivationConflict, LastAdmin, StorageUnavailable, UnknownAccount, UsernameTaken
from churn.ports import AuditTrail, ModelRegistry, UserStore
from churn.use_cases.verify_audit import VerifyAudit


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[AuditTrail]:
    yield MemoryAuditTrail()


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[AuditTrail]:
    yield PostgresAuditTrail(engine)


@pytest.fixture(params=[memory, postgres])
async def trail(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[AuditTrail]:
    async with request.param(engine) as trail:
        yield trail


def event(n: int = 0, **changes: object) -> AuditEvent:
    values = {
        "at": datetime(2026, 3, 1, 12, 30, 15, 123456 + n, tzinfo=UTC),
        "account": "anne",
        "action": "account-changed",
        "subject": "bruno",
        "details": {"n": n, "rôle": "admin", "disabled": True},
    }
    return AuditEvent(**values | changes)


def said(entry: AuditEntry) -> AuditEvent:
    return AuditEvent(**{name: getattr(entry, name) for name in AuditEvent.__struct_fields__})


def test_it_fills_the_port(trail: AuditTrail) -> None:
    """It has the methods of the port."""
    assert isinstance(trail, AuditTrail)


async def test_what_is_appended_is_read_either_way(trail: AuditTrail) -> None:
    """Equal to what was given, numbered from 1 on; and nothing is fine too."""
    assert await trail.entries(after=0, limit=10) == await trail.page(before=None, limit=10) == []
    events = [event(n) for n in range(4)] + [event(account=None, subject=None, details={})]
    await trail.append(events[:3])
    await trail.append([])
    await trail.append(events[3:])
    entries = await trail.entries(after=0, limit=10)
    assert [said(entry) for entry in entries] == events
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert await trail.entries(after=1, limit=2) == entries[1:3]
    assert await trail.page(before=None, limit=2) == entries[:2:-1]
    assert await trail.page(before=4, limit=10) == entries[2::-1]
    assert await trail.page(before=1, limit=10) == []


async def test_it_is_one_unbroken_chain(trail: AuditTrail) -> None:
    """Also when many append at once; those that come together stay side by side."""
    await asyncio.gather(*(trail.append([event(10 * n), event(10 * n + 1)]) for n in range(12)))
    entries = await trail.entries(after=0, limit=100)
    assert Chain().follow(entries) == []
    numbers = [entry.details["n"] for entry in entries]
    assert numbers[1::2] == [number + 1 for number in numbers[::2]]
    assert sorted(numbers[::2]) == [10 * n for n in range(12)]


# What others do is told to it: both, or neither.


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> tuple[AuditTrail, UserStore, ModelRegistry]:
    if request.param == "memory":
        trail = MemoryAuditTrail()
        return trail, MemoryUserStore(trail), MemoryModelRegistry(trail)
    return PostgresAuditTrail(engine), PostgresUserStore(engine), PostgresModelRegistry(engine)


async def test_a_changed_account_comes_with_its_entry(stores: tuple[AuditTrail, UserStore, ModelRegistry]) -> None:
    """And what is refused, or was asked for without one, with none."""
    trail, users, _ = stores
    anne = Account(username="anne", role=Role.ADMIN, password_hash="x", created_at=event().at)
    await users.add(anne, audit=event(1))
    with pytest.raises(UsernameTaken):
        await users.add(anne, audit=event(2))
    await users.update("anne", password_hash="y", audit=event(3))
    await users.update("anne", password_hash="z")
    await users.update("anne", password_hash="w", if_password_hash="other", audit=event(4))
    with pytest.raises(LastAdmin):
        await users.update("anne", disabled=True, audit=event(5))
    with pytest.raises(UnknownAccount):
        await users.update("bruno", disabled=True, audit=event(6))
    assert [said(entry) for entry in await trail.entries(after=0, limit=9)] == [event(1), event(3)]


async def test_an_activation_comes_with_its_entry(stores: tuple[AuditTrail, UserStore, ModelRegistry]) -> None:
    """And one that came too late with none."""
    trail, _, registry = stores
    activation = Activation(
        number=1, at=event().at, account="root", action="activate", previous=None, version="b", shadow=None, reason="x"
    )
    await registry.append(activation, audit=event(1))
    with pytest.raises(ActivationConflict):
        await registry.append(activation, audit=event(2))
    assert [said(entry) for entry in await trail.entries(after=0, limit=9)] == [event(1)]


# What only a real server can show.


@pytest.mark.parametrize(
    "statement",
    [
        update(table).values(account="root"),
        delete(table).where(table.c.number == 1),
        text("TRUNCATE audit_entry"),
        text("UPDATE audit_entry SET account = NULL WHERE false"),
    ],
)
async def test_the_database_refuses_to_change_it(engine: AsyncEngine, statement: object) -> None:
    """Whatever statement the service could be made to run: nothing is updated, deleted or truncated."""
    trail = PostgresAuditTrail(engine)
    await trail.append([event()])
    with pytest.raises(DBAPIError, match="audit_entry only grows"):
        async with engine.begin() as connection:
            await connection.execute(statement)
    assert [said(entry) for entry in await trail.entries(after=0, limit=9)] == [event()]


async def test_a_role_that_may_only_add_can_do_no_more(engine: AsyncEngine) -> None:
    """With the rights that the documentation gives the service, it appends, and cannot get rid of the trigger."""
    trail = PostgresAuditTrail(engine)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE ROLE churn_adding"))
        await connection.execute(text("GRANT SELECT, INSERT ON audit_entry TO churn_adding"))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL ROLE churn_adding"))
            await remember(connection, event())
        for statement in (
            "DELETE FROM audit_entry",
            "TRUNCATE audit_entry",
            "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "DROP TABLE audit_entry",
        ):
            async with engine.connect() as connection:
                await connection.execute(text("SET LOCAL ROLE churn_adding"))
                with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                    await connection.execute(text(statement))
        assert [said(entry) for entry in await trail.entries(after=0, limit=9)] == [event()]
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP OWNED BY churn_adding"))
            await connection.execute(text("DROP ROLE churn_adding"))


async def test_what_an_administrator_does_behind_its_back_is_found(engine: AsyncEngine) -> None:
    """Who can switch the trigger off can change an entry, but not unnoticed."""
    trail = PostgresAuditTrail(engine)
    await trail.append([event(n) for n in range(6)])
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(update(table).where(table.c.number == 2).values(account="mallory"))
        await connection.execute(delete(table).where(table.c.number.in_([4, 5])))
    verified = await VerifyAudit(trail=trail)()
    assert verified.breaches == (Breach(2, "altered"), Breach(4, "missing"), Breach(5, "missing"))


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    trail = PostgresAuditTrail(engine)
    for call in [trail.append([event()]), trail.page(before=None, limit=1), trail.entries(after=0, limit=1)]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
