"""Signing in to the console, staying in, and getting out."""

from datetime import UTC, datetime, timedelta

import pytest

from churn.adapters.memory import MemoryPasswordHasher, MemorySessionStore, MemoryUserStore
from churn.domain.account import Account, Role
from churn.domain.errors import InvalidCredentials, TooManyAttempts
from churn.domain.session import SessionLimits, digest_of, form_token_of
from churn.use_cases.authenticate import Authenticate
from churn.use_cases.sessions import ResumeSession, SignIn, SignOut

PASSWORD = "cheval agrafe pile"
ADDRESS = "192.0.2.1"
LIMITS = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=2))


@pytest.fixture
async def users():
    """Anne."""
    users = MemoryUserStore()
    await users.add(
        Account(
            username="anne",
            role=Role.ANALYST,
            password_hash=await MemoryPasswordHasher(cost=1).hash(PASSWORD),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    return users


@pytest.fixture
def sessions():
    return MemorySessionStore()


@pytest.fixture
def make_sign_in(users, sessions, clock):
    """Makes the use case with a hasher of that cost."""

    def make(cost=1):
        authenticate = Authenticate(
            users=users,
            hasher=MemoryPasswordHasher(cost),
            clock=clock,
            credential_ttl=60,
            failures_per_account=3,
            failures_per_address=10,
            on_refused=lambda *_, **__: None,
        )
        return SignIn(authenticate=authenticate, sessions=sessions, clock=clock, limits=LIMITS)

    return make


@pytest.fixture
def sign_in(make_sign_in):
    """Signs Anne in; the token."""
    use_case = make_sign_in()

    async def sign_in(password=PASSWORD, replaces=""):
        return (await use_case("anne", password, address=ADDRESS, replaces=replaces)).token

    return sign_in


@pytest.fixture
def resume(sessions, users, clock):
    return ResumeSession(sessions=sessions, users=users, clock=clock, limits=LIMITS)


async def ended(resume, token):
    try:
        await resume(token)
    except InvalidCredentials:
        return True
    return False


async def test_who_signs_in_is_recognized(sign_in, resume):
    """By the token, which is new each time and guessable by nobody."""
    tokens = {await sign_in(), await sign_in()}
    assert len(tokens) == 2
    for token in tokens:
        assert len(token) >= 43
        assert (await resume(token)).username == "anne"


@pytest.mark.parametrize("token", ["", "unknown", "é\ud800", "x" * 10_000])
async def test_nobody_else_is_recognized(resume, token):
    """Whatever the token."""
    assert await ended(resume, token)


async def test_the_token_is_kept_nowhere(sign_in, sessions):
    """What is stored gives neither the token nor what forms carry away."""
    token = await sign_in()
    stored = await sessions.get(digest_of(token))
    assert token not in repr(stored)
    assert form_token_of(token) not in repr(stored)


async def test_guesses_are_counted_as_everywhere(sign_in):
    """The throttle is the one of the API."""
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            await sign_in(password="wrong password")
    with pytest.raises(TooManyAttempts):
        await sign_in()


async def test_signing_in_replaces_the_session_of_the_browser(sign_in, resume):
    """Its token works no more; other browsers stay signed in."""
    other, first = await sign_in(), await sign_in()
    second = await sign_in(replaces=first)
    assert await ended(resume, first)
    assert not await ended(resume, second)
    assert not await ended(resume, other)


async def test_signing_out_ends_one_session(sign_in, resume, sessions):
    """Other browsers stay signed in."""
    one, other = await sign_in(), await sign_in()
    await SignOut(sessions=sessions)(one)
    assert await ended(resume, one)
    assert not await ended(resume, other)


async def test_a_session_ends_when_it_is_idle(sign_in, resume, clock):
    """Requests keep it, to the precision of a minute."""
    token = await sign_in()
    for _ in range(3):
        clock.advance(29 * 60)
        assert not await ended(resume, token)
    clock.advance(30 * 60)
    assert await ended(resume, token)


async def test_a_session_ends_in_any_case(sign_in, resume, clock):
    """However busy it is."""
    token = await sign_in()
    for _ in range(7):
        clock.advance(17 * 60)
        assert not await ended(resume, token)
    clock.advance(60)
    assert await ended(resume, token)


@pytest.mark.parametrize("change", [{"disabled": True}, {"password_hash": "another"}])
async def test_a_session_ends_with_what_it_was_opened_with(sign_in, resume, users, change):
    """Disabled or with another password, by whatever means: no session goes on, not even when it is changed back."""
    token = await sign_in()
    before = await users.get("anne")
    await users.add(Account(username="root", role=Role.ADMIN, password_hash="", created_at=datetime.now(UTC)))
    await users.update("anne", **change)
    assert await ended(resume, token)
    await users.update("anne", disabled=False, password_hash=before.password_hash)
    assert await ended(resume, token)


async def test_a_role_holds_at_once(sign_in, resume, users):
    """The account is as it is now, not as it was at the sign-in."""
    token = await sign_in()
    await users.update("anne", role=Role.ADMIN)
    assert (await resume(token)).role is Role.ADMIN


async def test_a_hash_that_is_renewed_at_the_sign_in_does_not_end_it(make_sign_in, resume):
    """The session is bound to the new hash."""
    signed_in = await make_sign_in(cost=2)("anne", PASSWORD, address=ADDRESS, replaces="")
    assert (await resume(signed_in.token)).password_hash.startswith("$pbkdf2-sha256$i=2$")


async def test_the_next_sign_in_forgets_what_has_ended(sign_in, sessions, clock):
    """Sessions that nobody signs out of do not pile up."""
    token = await sign_in()
    clock.advance(LIMITS.idle.total_seconds() + 1)
    await sign_in()
    assert await sessions.get(digest_of(token)) is None
