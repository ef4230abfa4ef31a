"""What every `SessionStore` must do."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from churn.adapters.memory import MemorySessionStore, MemoryUserStore
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.sessions import PostgresSessionStore
from churn.adapters.postgres.users import PostgresUserStore
from churn.domain.account import Account, Role
from churn.domain.errors import StorageUnavailable
from churn.domain.session import Session
from churn.ports import SessionStore

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SESSION = Session(
    digest=bytes(range(32)), username="anne", credential=bytes(32), created_at=NOW, seen_at=NOW + 5 * MINUTE
)
OTHER = replace(SESSION, digest=bytes(range(1, 33)))


@pytest.fixture(params=["memory", "postgres"])
async def sessions(request, engine):
    """A store without a session, in which Anne may have some."""
    users = MemoryUserStore() if request.param == "memory" else PostgresUserStore(engine)
    await users.add(Account(username="anne", role=Role.ANALYST, password_hash="$argon2id$", created_at=NOW))
    return MemorySessionStore() if request.param == "memory" else PostgresSessionStore(engine)


def test_it_fills_the_port(sessions):
    """It has the methods of the port."""
    assert isinstance(sessions, SessionStore)


async def test_a_session_is_read_as_it_was_added(sessions):
    """Every field comes back equal, the moments to the microsecond; another digest has none."""
    await sessions.add(SESSION)
    assert await sessions.get(SESSION.digest) == SESSION
    assert await sessions.get(OTHER.digest) is None


async def test_a_session_is_seen_later_and_never_earlier(sessions):
    """Of requests that overtake one another, the latest counts."""
    await sessions.add(SESSION)
    for minutes, expected in [(7, 7), (6, 7), (8, 8)]:
        await sessions.touch(SESSION.digest, NOW + minutes * MINUTE)
        assert await sessions.get(SESSION.digest) == replace(SESSION, seen_at=NOW + expected * MINUTE)


async def test_a_session_ends_alone(sessions):
    """The others of the account go on; ending or touching what has ended does nothing."""
    await sessions.add(SESSION)
    await sessions.add(OTHER)
    for _ in range(2):
        await sessions.end(SESSION.digest)
        await sessions.touch(SESSION.digest, NOW + 9 * MINUTE)
    assert await sessions.get(SESSION.digest) is None
    assert await sessions.get(OTHER.digest) == OTHER


@pytest.mark.parametrize(
    ("created_before", "seen_before", "stays"),
    [(NOW, NOW + 5 * MINUTE, True), (NOW + MINUTE, NOW, False), (NOW, NOW + 6 * MINUTE, False)],
)
async def test_the_old_are_purged(sessions, created_before, seen_before, stays):
    """A session goes when either moment is before what is asked, and not when it is that very moment."""
    await sessions.add(SESSION)
    await sessions.purge(created_before=created_before, seen_before=seen_before)
    assert (await sessions.get(SESSION.digest) == SESSION) is stays


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port):
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    sessions = PostgresSessionStore(engine)
    for call in [
        sessions.add(SESSION),
        sessions.get(SESSION.digest),
        sessions.touch(SESSION.digest, NOW),
        sessions.end(SESSION.digest),
        sessions.purge(created_before=NOW, seen_before=NOW),
    ]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
