"""What every `UserStore` must do."""

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, text

from churn.adapters.memory import MemoryUserStore
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.users import PostgresUserStore
from churn.domain.account import Account, Role
from churn.domain.errors import LastAdmin, StorageUnavailable, UnknownAccount, UsernameTaken
from churn.ports import UserStore

ANNE = Account(
    username="anne",
    role=Role.ADMIN,
    password_hash="$argon2id$anne",
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
)
BRUNO = replace(ANNE, username="bruno", role=Role.ANALYST, password_hash="$argon2id$bruno")


@asynccontextmanager
async def postgres_store(engine):
    yield PostgresUserStore(engine)


@asynccontextmanager
async def memory_store(_):
    yield MemoryUserStore()


@pytest.fixture(params=[postgres_store, memory_store])
async def users(request, engine):
    async with request.param(engine) as users:
        yield users


@asynccontextmanager
async def heard(users):
    """The changes from here on, read up to the first item."""
    async with asyncio.timeout(10), aclosing(users.changes()) as changes:
        assert await anext(changes) is None
        yield changes


def test_it_fills_the_port(users):
    """It has the methods of the port."""
    assert isinstance(users, UserStore)


async def test_an_account_is_read_as_it_was_added(users):
    """Every field comes back equal, the moment to the microsecond."""
    for account in [ANNE, BRUNO, replace(ANNE, username="zoe", disabled=True)]:
        await users.add(account)
        assert await users.get(account.username) == account


@pytest.mark.parametrize("username", ["nobody", "Anne", "anne ", "ann", "", "an\x00ne", "\ud800", "a" * 100_000])
async def test_a_name_nobody_has_gives_none(users, username):
    """Absent is None, and not an error, also for a name that nobody can have."""
    await users.add(ANNE)
    assert await users.get(username) is None


async def test_a_name_is_taken_once(users):
    """A second account of the same name is refused, and the first stays as it was."""
    await users.add(ANNE)
    with pytest.raises(UsernameTaken, match="anne"):
        await users.add(replace(ANNE, role=Role.ANALYST, password_hash="other"))
    assert await users.get("anne") == ANNE


async def test_of_many_who_want_a_name_one_gets_it(users):
    """Two adds that race do not both succeed."""
    answers = await asyncio.gather(*(users.add(ANNE) for _ in range(8)), return_exceptions=True)
    assert sorted(str(answer) for answer in answers) == sorted(["None", *["the username 'anne' is taken"] * 7])


async def test_all_lists_every_account_by_name(users):
    """Disabled ones too, in the order of their code points, whatever the order of adding."""
    assert list(await users.all()) == []
    names = ["b", "a-b", "a.b", "a_b", "ab", "a@b", "9", "a1"]
    for name in names:
        await users.add(replace(ANNE, username=name + "x", disabled=name == "b"))
    assert [account.username for account in await users.all()] == sorted(name + "x" for name in names)


@pytest.mark.parametrize(
    "change",
    [{"role": Role.ADMIN}, {"disabled": True}, {"password_hash": "new"}, {"role": Role.ADMIN, "disabled": True}, {}],
)
async def test_update_changes_what_is_given_and_nothing_else(users, change):
    """It returns the account as it is now, which is what is then read."""
    await users.add(ANNE)
    await users.add(BRUNO)
    assert await users.update("bruno", **change) == replace(BRUNO, **change)
    assert await users.get("bruno") == replace(BRUNO, **change)
    assert await users.get("anne") == ANNE


@pytest.mark.parametrize("username", ["nobody", "Bruno", "an\x00ne"])
async def test_an_unknown_account_is_not_updated(users, username):
    """With a condition or without one."""
    await users.add(BRUNO)
    for condition in [{}, {"if_password_hash": BRUNO.password_hash}]:
        with pytest.raises(UnknownAccount):
            await users.update(username, role=Role.ADMIN, **condition)


async def test_a_condition_on_the_hash_holds_or_nothing_changes(users):
    """A rehash that comes after a change of password does not undo it."""
    await users.add(BRUNO)
    rehashed = await users.update("bruno", password_hash="rehashed", if_password_hash=BRUNO.password_hash)
    assert rehashed.password_hash == "rehashed"
    late = await users.update("bruno", password_hash="late", if_password_hash=BRUNO.password_hash)
    assert late == rehashed == await users.get("bruno")


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": Role.ANALYST}])
async def test_the_last_enabled_admin_stays(users, change):
    """Somebody can always manage accounts; a disabled admin does not count."""
    await users.add(ANNE)
    await users.add(BRUNO)
    await users.add(replace(ANNE, username="zoe", disabled=True))
    with pytest.raises(LastAdmin, match="anne"):
        await users.update("anne", **change)
    assert await users.get("anne") == ANNE
    await users.update("bruno", role=Role.ADMIN)
    assert await users.update("anne", **change) == replace(ANNE, **change)


async def test_the_last_admin_may_change_otherwise(users):
    """A new password, or a role that is the same, takes no admin away."""
    await users.add(ANNE)
    change = {"password_hash": "new", "role": Role.ADMIN, "disabled": False}
    assert await users.update("anne", **change) == replace(ANNE, **change)


async def test_admins_who_demote_each_other_leave_one(users):
    """However many try at the same time."""
    names = [f"admin{number}" for number in range(4)]
    for name in names:
        await users.add(replace(ANNE, username=name))
    answers = await asyncio.gather(
        *(users.update(name, role=Role.ANALYST) for name in reversed(names)), return_exceptions=True
    )
    assert sum(isinstance(answer, LastAdmin) for answer in answers) == 1
    assert sum(account.is_enabled_admin for account in await users.all()) == 1


async def test_changes_are_announced_in_order(users):
    """A listener hears first that it may have missed some, then of each change from there on."""
    await users.add(ANNE)
    await users.add(BRUNO)
    await users.update("anne", password_hash="before anyone listens")
    async with heard(users) as changes:
        await users.update("bruno", disabled=True)
        await users.update("anne", password_hash="new")
        await users.update("bruno", disabled=False)
        assert [await anext(changes) for _ in range(3)] == ["bruno", "anne", "bruno"]


async def test_every_listener_hears_every_change(users):
    """One process does not take an announcement from another."""
    await users.add(BRUNO)
    async with heard(users) as first, heard(users) as second:
        await users.update("bruno", role=Role.ADMIN)
        assert await anext(first) == await anext(second) == "bruno"


async def test_an_announced_change_can_be_read(users):
    """Who hears of a change and looks sees it."""
    await users.add(BRUNO)

    async def hear_and_read():
        username = await anext(changes)
        return (await users.get(username)).password_hash

    async with heard(users) as changes:
        for number in range(20):
            _, read = await asyncio.gather(users.update("bruno", password_hash=f"{number}"), hear_and_read())
            assert read == f"{number}"


async def test_what_did_not_happen_is_not_announced(users):
    """Neither a condition that did not hold nor a refusal is a change."""
    await users.add(ANNE)
    await users.add(BRUNO)
    async with heard(users) as changes:
        await users.update("anne", password_hash="late", if_password_hash="other")
        with pytest.raises(LastAdmin):
            await users.update("anne", disabled=True)
        await users.update("bruno", role=Role.ADMIN)
        assert await anext(changes) == "bruno"


# What only a real server can show.


async def test_a_lost_connection_is_made_anew_and_owned_up_to(engine):
    """After the server has dropped the listener, None says that changes may have been missed; then all is well."""
    users = PostgresUserStore(engine)
    await users.add(BRUNO)
    async with heard(users) as changes:
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
            )
        assert await anext(changes) is None
        await users.update("bruno", role=Role.ADMIN)
        assert await anext(changes) == "bruno"


async def test_a_quiet_connection_is_kept_alive(engine):
    """A listener that hears nothing asks the server now and then, and goes on listening."""
    users = PostgresUserStore(engine, keepalive=0.01)
    await users.add(BRUNO)
    async with heard(users) as changes:
        change = asyncio.create_task(anext(changes))
        async with engine.connect() as connection:
            asked = select(func.count()).select_from(text("pg_stat_activity")).where(text("query = 'SELECT 1'"))
            while not (await connection.execute(asked)).scalar_one():
                await connection.rollback()
        await users.update("bruno", role=Role.ADMIN)
        assert await change == "bruno"


async def test_listening_takes_no_connection_from_the_pool(database_url, engine):
    """As many statements run at once as the pool allows, whoever listens."""
    pool = create_engine(database_url, pool_size=1)
    async with heard(PostgresUserStore(pool)), heard(PostgresUserStore(pool)):
        assert await PostgresUserStore(pool).get("anne") is None
    await pool.dispose()


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port):
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    users = PostgresUserStore(engine)
    for call in [users.add(ANNE), users.get("anne"), users.all(), users.update("anne", disabled=True)]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()


async def test_a_listener_waits_for_a_server_that_is_not_there(unused_tcp_port):
    """It tries again and again, and stops when it is told to."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    changes = asyncio.create_task(anext(PostgresUserStore(engine).changes()))
    done, _ = await asyncio.wait([changes], timeout=0.5)
    assert not done
    changes.cancel()
    await asyncio.wait([changes])
    assert changes.cancelled()
    await engine.dispose()
