"""The machine's clock, set back or forth under the service."""

from datetime import timedelta

import pytest
import uuid_utils.compat

from churn.adapters.memory import MemoryClock, MemoryPasswordHasher, MemorySessionStore, MemoryUserStore
from churn.domain.account import Account, Role
from churn.domain.errors import InvalidCredentials, TooManyAttempts
from churn.domain.session import CLOCK_SKEW, SessionLimits
from churn.use_cases.authenticate import Authenticate
from churn.use_cases.sessions import ResumeSession, SignIn

PASSWORD, ADDRESS = "cheval agrafe pile", "192.0.2.1"
LIMITS = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=2))
PER_ACCOUNT = 3
STEPS = [timedelta(days=-400), timedelta(hours=-1), timedelta(hours=1), timedelta(days=400)]


class CountingHasher(MemoryPasswordHasher):
    """Counts what it is asked."""

    verifications = 0

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.verifications += 1
        return await super().verify(password_hash, password)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher(1)


@pytest.fixture
async def users(hasher: CountingHasher, clock: MemoryClock) -> MemoryUserStore:
    users = MemoryUserStore()
    account = Account(
        username="anne", role=Role.ANALYST, password_hash=await hasher.hash(PASSWORD), created_at=clock.now()
    )
    await users.add(account)
    return users


@pytest.fixture
def authenticate(users: MemoryUserStore, hasher: CountingHasher, clock: MemoryClock) -> Authenticate:
    return Authenticate(
        users=users,
        hasher=hasher,
        clock=clock,
        credential_ttl=60,
        failures_per_account=PER_ACCOUNT,
        failures_per_address=100,
        on_refused=lambda *_, **__: None,
    )


@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_a_throttled_account_stays_throttled(
    authenticate: Authenticate, clock: MemoryClock, step: timedelta
) -> None:
    """Who has guessed too often waits as long, wherever the clock is set."""
    for number in range(PER_ACCOUNT):
        with pytest.raises(InvalidCredentials):
            await authenticate("anne", f"wrong {number}", ADDRESS)
    with pytest.raises(TooManyAttempts) as before:
        await authenticate("anne", "wrong", ADDRESS)
    clock.set(clock.now() + step)
    with pytest.raises(TooManyAttempts) as after:
        await authenticate("anne", "wrong", ADDRESS)
    assert after.value.retry_after == before.value.retry_after


@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_a_credential_is_fresh_for_as_long(
    authenticate: Authenticate, hasher: CountingHasher, clock: MemoryClock, step: timedelta
) -> None:
    """A verified password is verified again after its time, and not before, wherever the clock is set."""
    await authenticate("anne", PASSWORD, ADDRESS)
    clock.set(clock.now() + step)
    clock.advance(29)
    await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == 1
    clock.advance(32)
    await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == 2


@pytest.mark.parametrize(
    ("step", "lasts"),
    [
        (-2 * CLOCK_SKEW, False),
        (timedelta(days=-400), False),
        (timedelta(days=400), False),
        (-CLOCK_SKEW, True),
        (timedelta(minutes=29), True),
    ],
    ids=str,
)
async def test_a_session_never_lasts_longer(
    authenticate: Authenticate, users: MemoryUserStore, clock: MemoryClock, step: timedelta, lasts: bool
) -> None:
    """A step of the clock may end a session, and a small one does not, but none lets it live past its limits."""
    sessions = MemorySessionStore()
    sign_in = SignIn(authenticate=authenticate, sessions=sessions, clock=clock, limits=LIMITS)
    resume = ResumeSession(sessions=sessions, users=users, clock=clock, limits=LIMITS)
    signed_in = await sign_in("anne", PASSWORD, address=ADDRESS, replaces="")
    clock.set(clock.now() + step)
    if lasts:
        assert (await resume(signed_in.token)).username == "anne"
    else:
        with pytest.raises(InvalidCredentials):
            await resume(signed_in.token)


def test_ids_are_in_the_order_of_their_making() -> None:
    """Of two ids of one process the later is the greater, many to a millisecond."""
    ids = [uuid_utils.compat.uuid7() for _ in range(100_000)]
    assert ids == sorted(set(ids))
