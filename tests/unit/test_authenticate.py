"""Signing in."""

import asyncio
from datetime import UTC, datetime

import pytest

from churn.adapters.memory import MemoryPasswordHasher, MemoryUserStore
from churn.domain.account import Account, Role
from churn.domain.errors import InvalidCredentials, PasswordHasherBusy, StorageUnavailable, TooManyAttempts
from churn.use_cases.authenticate import Authenticate

PASSWORD = "cheval agrafe pile"
ADDRESS = "192.0.2.1"
TTL = 60.0
PER_ACCOUNT = 5
PER_ADDRESS = 12
MOST_STRANGERS = 64


class GatedHasher(MemoryPasswordHasher):
    """A hasher that counts, and that can be held up or made to fail."""

    def __init__(self, cost=1):
        super().__init__(cost)
        self.verifications = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = None

    async def verify(self, password_hash, password):
        self.verifications += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return await super().verify(password_hash, password)


@pytest.fixture
def hasher():
    return GatedHasher()


@pytest.fixture
async def users(hasher):
    """Anne, Bruno, and Zoé, who is disabled; all with the same password."""
    users = MemoryUserStore()
    for username in ["anne", "bruno", "zoe"]:
        await users.add(
            Account(
                username=username,
                role=Role.ANALYST,
                password_hash=await hasher.hash(PASSWORD),
                created_at=datetime(2026, 1, 1, tzinfo=UTC),
                disabled=username == "zoe",
            )
        )
    return users


@pytest.fixture
def make(users, hasher, clock):
    """Makes the use case; arguments replace the usual ones."""

    def make(**changes):
        parts = {
            "users": users,
            "hasher": hasher,
            "clock": clock,
            "credential_ttl": TTL,
            "failures_per_account": PER_ACCOUNT,
            "failures_per_address": PER_ADDRESS,
            "on_refused": lambda *_, **__: None,
            "most_strangers": MOST_STRANGERS,
        }
        return Authenticate(**parts | changes)

    return make


@pytest.fixture
def authenticate(make):
    return make()


@pytest.fixture
async def watch(authenticate):
    """The task that follows the changes of accounts."""
    task = asyncio.create_task(authenticate.watch())
    await turns()
    yield task
    task.cancel()


async def turns(count=20):
    """Let every task that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcomes(*attempts):
    """What becomes of attempts made at one time: an account, or the type of the error."""
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    return [type(answer) if isinstance(answer, Exception) else answer.username for answer in answers]


async def exhaust(authenticate, username="anne"):
    """Fail as often as one account may."""
    for number in range(PER_ACCOUNT):
        with pytest.raises(InvalidCredentials):
            await authenticate(username, f"wrong {number}", ADDRESS)
    with pytest.raises(TooManyAttempts):
        await authenticate(username, "wrong again", ADDRESS)


async def test_the_right_password_gives_the_account(authenticate, users):
    """The account is the stored one."""
    assert await authenticate("anne", PASSWORD, ADDRESS) == await users.get("anne")


@pytest.mark.parametrize("username", ["anne", "nobody", "zoe", "Anne", "anne\n", "an\x00ne", "\ud800", ""])
async def test_every_wrong_credential_costs_one_verification(authenticate, hasher, username):
    """Wrong password, unknown user, disabled account and impossible name can be told apart by nothing."""
    password = PASSWORD if username == "zoe" else "wrong"
    with pytest.raises(InvalidCredentials, match="the username or the password is wrong"):
        await authenticate(username, password, ADDRESS)
    assert hasher.verifications == 1


@pytest.mark.parametrize(("username", "password"), [("a" * 65, PASSWORD), ("anne", "x" * 257)])
async def test_what_no_account_can_have_costs_nothing(authenticate, hasher, username, password):
    """A name or a password that is too long is wrong without a look."""
    with pytest.raises(InvalidCredentials):
        await authenticate(username, password, ADDRESS)
    assert hasher.verifications == 0


async def test_a_password_is_right_however_it_is_composed(authenticate, users, hasher):
    """Two keyboards may send one accented letter as one code point or as two."""
    await users.update("anne", password_hash=await hasher.hash("élève très âgé"))
    assert await authenticate("anne", "e\u0301le\u0300ve tre\u0300s a\u0302ge\u0301", ADDRESS)


async def test_a_verified_credential_is_not_verified_again_while_it_is_fresh(authenticate, hasher, clock):
    """Hashing is for the first request of a minute, not for each."""
    for wait, expected in [(0, 1), (TTL / 2 - 1, 1), (TTL, 2)]:
        clock.advance(wait)
        await authenticate("anne", PASSWORD, ADDRESS)
        assert hasher.verifications == expected


async def test_who_goes_on_asking_never_waits_for_a_hash(authenticate, hasher, clock):
    """A credential is verified anew while it is still fresh, once, and then has all of its time again."""
    await authenticate("anne", PASSWORD, ADDRESS)
    for expected in [2, 3, 4]:
        clock.advance(TTL / 2)
        hasher.gate.clear()
        assert await outcomes(*(authenticate("anne", PASSWORD, ADDRESS) for _ in range(32))) == ["anne"] * 32
        hasher.gate.set()
        await turns()
        assert hasher.verifications == expected


async def test_a_renewal_that_fails_is_tried_again_but_not_by_each_request(authenticate, hasher, clock):
    """While the hasher is busy a fresh credential answers, and the hasher is not asked each time."""
    await authenticate("anne", PASSWORD, ADDRESS)
    hasher.error = PasswordHasherBusy("busy")
    clock.advance(TTL / 2)
    for expected in [2, 3, 4, 5]:
        for _ in range(10):
            assert await authenticate("anne", PASSWORD, ADDRESS)
            await turns()
        assert hasher.verifications == expected
        clock.advance(TTL / 8)
    with pytest.raises(PasswordHasherBusy):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_a_renewal_that_proves_wrong_ends_what_was_remembered(authenticate, users, hasher, clock):
    """A change that nobody announced is felt as soon as the renewal finds it out."""
    await authenticate("anne", PASSWORD, ADDRESS)
    await users.update("anne", password_hash=await hasher.hash("another password"))
    clock.advance(TTL / 2)
    await authenticate("anne", PASSWORD, ADDRESS)
    await turns()
    with pytest.raises(InvalidCredentials):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_a_change_during_a_renewal_is_felt(authenticate, users, watch, hasher, clock):
    """The renewal was begun before the change: who comes after it is verified again."""
    await authenticate("anne", PASSWORD, ADDRESS)
    clock.advance(TTL / 2)
    hasher.gate.clear()
    await authenticate("anne", PASSWORD, ADDRESS)
    await turns()
    await users.update("anne", disabled=True)
    await turns()
    hasher.gate.set()
    await turns()
    with pytest.raises(InvalidCredentials):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_a_crowd_of_strangers_leaves_the_hasher_to_who_is_known(authenticate, hasher, clock):
    """Beyond the bound, strangers are refused before anything is looked up; it costs them no attempt."""
    await authenticate("anne", PASSWORD, ADDRESS)
    clock.advance(TTL)
    hasher.gate.clear()
    crowd = [
        asyncio.create_task(authenticate(f"user-{number}", "wrong", f"192.0.2.{number}"))
        for number in range(MOST_STRANGERS + 10)
    ]
    await turns(200)
    assert hasher.verifications == 1 + MOST_STRANGERS
    owner = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns(200)
    assert hasher.verifications == 2 + MOST_STRANGERS
    hasher.gate.set()
    assert (await owner).username == "anne"
    refusals = [type(error) for error in await asyncio.gather(*crowd, return_exceptions=True)]
    assert refusals == [InvalidCredentials] * MOST_STRANGERS + [PasswordHasherBusy] * 10
    assert await authenticate("bruno", PASSWORD, ADDRESS)


async def test_a_fresh_credential_is_no_pass_for_another(authenticate):
    """Neither another password nor another account gets in."""
    await authenticate("anne", PASSWORD, ADDRESS)
    for username, password in [("anne", PASSWORD[:-1]), ("anne", ""), ("annec", PASSWORD[1:]), ("ann", "e" + PASSWORD)]:
        with pytest.raises(InvalidCredentials):
            await authenticate(username, password, ADDRESS)


async def test_nothing_is_remembered_for_no_time(make, hasher):
    """A lifetime of zero verifies each request."""
    authenticate = make(credential_ttl=0)
    for expected in [1, 2, 3]:
        await authenticate("anne", PASSWORD, ADDRESS)
        assert hasher.verifications == expected
    await exhaust(authenticate)
    with pytest.raises(TooManyAttempts):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_memory_for_credentials_is_bounded(make, hasher):
    """The credential that was verified longest ago gives way, and is then verified anew."""
    authenticate = make(capacity=1)
    for username, expected in [("anne", 1), ("anne", 1), ("bruno", 2), ("bruno", 2), ("anne", 3)]:
        await authenticate(username, PASSWORD, ADDRESS)
        assert hasher.verifications == expected


@pytest.mark.parametrize("change", [{"disabled": True}, {"password_hash": "another"}])
async def test_a_change_by_any_process_is_felt_at_once(authenticate, users, watch, change):
    """A credential that is no longer right is refused long before its time is over."""
    await authenticate("anne", PASSWORD, ADDRESS)
    await users.update("anne", **change)
    await turns()
    with pytest.raises(InvalidCredentials):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_a_change_of_role_is_felt_at_once(authenticate, users, watch):
    """The account that comes back is the one that is stored now."""
    await authenticate("anne", PASSWORD, ADDRESS)
    await users.update("anne", role=Role.ADMIN)
    await turns()
    assert (await authenticate("anne", PASSWORD, ADDRESS)).role is Role.ADMIN


async def test_a_change_costs_other_accounts_nothing(authenticate, users, watch, hasher):
    """Only what is remembered of the changed account is dropped."""
    await authenticate("bruno", PASSWORD, ADDRESS)
    await users.update("anne", role=Role.ADMIN)
    await turns()
    await authenticate("bruno", PASSWORD, ADDRESS)
    assert hasher.verifications == 1


async def test_missed_changes_make_it_forget_everything(make, hasher, caplog):
    """When the stream of changes fails or may have gaps, every credential is verified anew."""

    class Interrupted(MemoryUserStore):
        opened = 0

        async def changes(self):
            self.opened += 1
            if self.opened == 1:
                raise OSError("gone")
            reopened.set()
            await hold.wait()
            yield None
            await asyncio.Event().wait()

    reopened, hold = asyncio.Event(), asyncio.Event()
    users = Interrupted()
    account = Account(
        username="anne", role=Role.ADMIN, password_hash=await hasher.hash(PASSWORD), created_at=datetime.now(UTC)
    )
    await users.add(account)
    authenticate = make(users=users)
    await authenticate("anne", PASSWORD, ADDRESS)
    watch = asyncio.create_task(authenticate.watch())
    await reopened.wait()
    await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == 2
    hold.set()
    await turns()
    await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == 3
    assert "the stream of account changes failed" in caplog.text
    watch.cancel()


async def test_a_verification_from_before_a_change_is_not_remembered_after_it(authenticate, users, watch, hasher):
    """Who signs in while the password is changed gets in once, not for a minute."""
    hasher.gate.clear()
    attempt = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns()
    await users.update("anne", password_hash=await hasher.hash("another password"))
    await turns()
    hasher.gate.set()
    await attempt
    with pytest.raises(InvalidCredentials):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_nobody_joins_a_verification_from_before_a_change(authenticate, users, watch, hasher):
    """A request that comes after the change is held against the account as it is now."""
    hasher.gate.clear()
    before = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns()
    await users.update("anne", disabled=True)
    await turns()
    after = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns()
    hasher.gate.set()
    assert await outcomes(before, after) == ["anne", InvalidCredentials]


async def test_failures_throttle_the_account_before_anything_is_hashed(authenticate, hasher, clock):
    """Even the right password waits, and is told how long."""
    await exhaust(authenticate)
    verifications = hasher.verifications
    with pytest.raises(TooManyAttempts) as refusal:
        await authenticate("anne", PASSWORD, "198.51.100.7")
    assert hasher.verifications == verifications
    assert 0 < refusal.value.retry_after <= 60
    clock.advance(refusal.value.retry_after)
    assert await authenticate("anne", PASSWORD, ADDRESS)


async def test_an_unknown_account_is_throttled_like_any_other(authenticate):
    """A 429 does not tell that an account exists."""
    await exhaust(authenticate, "nobody")


@pytest.mark.parametrize(
    ("attacker", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("", "", "192.0.2.2"),
        ("not an address", "not an address", "192.0.2.2"),
    ],
)
async def test_failures_throttle_the_address(authenticate, attacker, same, other):
    """Many names from one address, or from one IPv6 network, run into the limit; its neighbour does not."""
    for number in range(PER_ADDRESS):
        with pytest.raises(InvalidCredentials):
            await authenticate(f"user-{number}", "wrong", attacker)
    with pytest.raises(TooManyAttempts):
        await authenticate("anne", PASSWORD, same)
    assert await authenticate("anne", PASSWORD, other)


async def test_success_costs_no_attempt(make):
    """An account that always signs in right is never throttled."""
    authenticate = make(credential_ttl=0)
    for _ in range(3 * PER_ADDRESS):
        assert await authenticate("anne", PASSWORD, ADDRESS)


async def test_attempts_count_while_they_are_under_way(authenticate, hasher):
    """Five hundred guesses at one time get no more answers than five hundred in turn."""
    answers = await outcomes(
        *(authenticate("anne", f"guess {number}", f"192.0.2.{number % 250}") for number in range(500))
    )
    assert answers.count(InvalidCredentials) == hasher.verifications == PER_ACCOUNT
    assert answers.count(TooManyAttempts) == 500 - PER_ACCOUNT


@pytest.mark.parametrize("error", [PasswordHasherBusy("busy"), StorageUnavailable("gone")])
async def test_an_attempt_that_found_nothing_out_costs_nothing(authenticate, hasher, error):
    """While the service cannot tell, nobody is throttled for asking."""
    hasher.error = error
    for number in range(3 * PER_ADDRESS):
        with pytest.raises(type(error)):
            await authenticate("anne", f"password {number}", ADDRESS)
    hasher.error = None
    assert await authenticate("anne", PASSWORD, ADDRESS)


async def test_a_guesser_does_not_lock_out_who_is_signed_in(authenticate, clock):
    """The owner goes on, beyond the lifetime of the credential, from wherever the guesses come."""
    await authenticate("anne", PASSWORD, ADDRESS)
    for _ in range(3):
        await exhaust(authenticate)
        assert await authenticate("anne", PASSWORD, ADDRESS)
        clock.advance(TTL + 1)
        await exhaust(authenticate)
        assert await authenticate("anne", PASSWORD, ADDRESS)
        clock.advance(TTL + 1)


@pytest.mark.parametrize("username", ["anne", None])
async def test_a_change_while_guesses_come_locks_nobody_out(authenticate, hasher, username):
    """Who was signed in before it is verified anew, once, and not throttled."""
    await authenticate("anne", PASSWORD, ADDRESS)
    await exhaust(authenticate)
    authenticate.distrust(username)
    verifications = hasher.verifications
    for _ in range(3):
        assert await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == verifications + 1


async def test_a_change_during_a_sign_in_locks_nobody_out(authenticate, hasher):
    """Who signs in while some account changes is verified anew, once, and not throttled."""
    hasher.gate.clear()
    attempt = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns()
    authenticate.distrust(None)
    hasher.gate.set()
    await attempt
    await exhaust(authenticate)
    verifications = hasher.verifications
    for _ in range(3):
        assert await authenticate("anne", PASSWORD, ADDRESS)
    assert hasher.verifications == verifications + 1


async def test_an_old_password_is_not_exempt_for_ever(authenticate, users, hasher, clock):
    """Once it has failed, what was right before a change nobody announced is throttled like any guess."""
    await authenticate("anne", PASSWORD, ADDRESS)
    await users.update("anne", password_hash=await hasher.hash("another password"))
    clock.advance(TTL + 1)
    for _ in range(PER_ACCOUNT + 1):
        with pytest.raises(InvalidCredentials):
            await authenticate("anne", PASSWORD, ADDRESS)
    with pytest.raises(TooManyAttempts):
        await authenticate("anne", PASSWORD, ADDRESS)


async def test_one_credential_at_one_time_is_verified_once(authenticate, hasher):
    """Thirty-two connections that start together cost one verification."""
    assert await outcomes(*(authenticate("anne", PASSWORD, ADDRESS) for _ in range(32))) == ["anne"] * 32
    assert hasher.verifications == 1


async def test_a_client_that_goes_away_spoils_nothing(authenticate, hasher):
    """Those that share its verification get their answer, and a failure is booked."""
    hasher.gate.clear()
    first, second = (asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS)) for _ in range(2))
    guesses = [asyncio.create_task(authenticate("bruno", f"{number}", ADDRESS)) for number in range(PER_ACCOUNT)]
    await turns()
    for task in [first, *guesses]:
        task.cancel()
    await turns()
    hasher.gate.set()
    assert (await second).username == "anne"
    with pytest.raises(TooManyAttempts):
        await authenticate("bruno", PASSWORD, ADDRESS)


async def test_a_failure_that_nobody_waits_for_is_not_reported_as_lost(authenticate, hasher):
    """The client is gone, and the verification fails: there is nothing to say."""
    hasher.gate.clear()
    hasher.error = PasswordHasherBusy("busy")
    lost = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    attempt = asyncio.create_task(authenticate("anne", PASSWORD, ADDRESS))
    await turns()
    attempt.cancel()
    await turns()
    hasher.gate.set()
    await turns()
    del attempt
    asyncio.get_running_loop().set_exception_handler(None)
    assert lost == []


async def test_signing_in_renews_a_hash_with_former_parameters(users, make):
    """Raised parameters reach an account when its password is next at hand."""
    authenticate = make(hasher=MemoryPasswordHasher(cost=2), credential_ttl=0)
    before = (await users.get("anne")).password_hash
    for _ in range(2):
        await authenticate("anne", PASSWORD, ADDRESS)
        after = (await users.get("anne")).password_hash
        assert after != before
        assert not MemoryPasswordHasher(cost=2).needs_rehash(after)


async def test_renewing_a_hash_does_not_undo_a_change_of_password(users, make, hasher):
    """A password that is changed while it is rehashed stays changed."""

    class Slow(MemoryPasswordHasher):
        async def hash(self, password):
            await users.update("anne", password_hash="changed meanwhile")
            return await super().hash(password)

    await make(hasher=Slow(cost=2))("anne", PASSWORD, ADDRESS)
    assert (await users.get("anne")).password_hash == "changed meanwhile"


async def test_a_hash_that_cannot_be_renewed_fails_no_sign_in(make):
    """There is always a next time."""

    class Busy(MemoryPasswordHasher):
        async def hash(self, password):
            raise PasswordHasherBusy("busy")

    assert await make(hasher=Busy(cost=2))("anne", PASSWORD, ADDRESS)


async def test_an_account_shows_no_hash(users):
    """What is logged or shown of an account cannot be attacked."""
    account = await users.get("zoe")
    assert account.password_hash not in repr(account)
    assert "zoe" in repr(account)
