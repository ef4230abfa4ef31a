"""Who is asking?"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import inf
from secrets import token_bytes
from typing import Final, Never, Protocol

from msgspec import Struct

from churn.domain.account import MAX_USERNAME_LENGTH, Account
from churn.domain.errors import ChurnError, InvalidCredentials, PasswordHasherBusy, TooManyAttempts
from churn.domain.password import MAX_LENGTH, normalize
from churn.domain.throttle import Throttle
from churn.ports import Clock, PasswordHasher, UserStore
from churn.use_cases.turns import Turns

#: Seconds before the stream of changes is opened again after it failed: the first time, and at most.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
#: Attempts, in the lifetime of a credential, to verify it anew before its time is over: in its second half, so half
#: as many.
_RENEWALS: Final = 8

_logger = logging.getLogger(__name__)


class Refused(Protocol):
    """Is told of a sign-in that was refused; `throttled`: before anything was verified."""

    def __call__(self, username: str, address: str, *, throttled: bool) -> None:
        """Must not fail, nor take its time."""
        ...


class _Verified(Struct):
    """A credential that was right when it was last verified."""

    seal: bytes
    account: Account
    renew_at: float
    fresh_until: float


class Authenticate:
    """Tells whose a username and a password are, quickly when it has just told, and slowly to who guesses.

    * A verified credential is remembered, as a MAC under a key that never leaves this object. While it is
      fresh and the account has not changed, it answers by itself; later it is verified anew, but never
      throttled, until it proves wrong: whoever guesses at an account cannot lock out its owner.
    * One that is used in the second half of its time is verified anew meanwhile, so that nobody who goes on
      asking waits for a hash.
    * Attempts with one credential at one time share one verification.
    * Only so many who are not remembered are verified at one time, which leaves the hasher room for who is.
    * Any other attempt counts as failed, against the account and the address, from before it is verified
      until it has proved right.
    * Unknown, disabled and wrong cost the same time and raise the same error.
    """

    def __init__(
        self,
        *,
        users: UserStore,
        hasher: PasswordHasher,
        clock: Clock,
        credential_ttl: float,
        failures_per_account: int,
        failures_per_address: int,
        on_refused: Refused,
        most_strangers: int = 64,
        capacity: int = 10_000,
    ) -> None:
        """A credential is fresh for `credential_ttl` seconds, and not remembered at all when that is 0.

        Failures are per minute. `on_refused` is told of every attempt that is refused. `most_strangers` bounds the
        verifications at one time of credentials that are not remembered, `capacity` the credentials, the accounts
        and the addresses in memory.
        """
        self._users = users
        self._hasher = hasher
        self._clock = clock
        self._ttl = credential_ttl
        self._on_refused = on_refused
        self._most_strangers = most_strangers
        self._strangers = 0
        self._turns = Turns(pause=1)
        self._capacity = capacity
        self._accounts = Throttle(failures_per_account, capacity=capacity)
        self._addresses = Throttle(failures_per_address, capacity=capacity)
        self._key = token_bytes(32)
        self._verified: dict[str, _Verified] = {}
        self._generation = 0
        self._under_way: dict[tuple[int, bytes], asyncio.Task[Account | None]] = {}

    async def __call__(self, username: str, password: str, address: str) -> Account:
        """The enabled account of `username`, whose password is `password`.

        `address` is the client's IP address; an IPv6 client is known by its /64, the least that a site has.

        Raises:
            InvalidCredentials: there is none.
            TooManyAttempts: too many failed; nothing was verified.
            PasswordHasherBusy: too many are being verified.
            Unavailable: it cannot be told now.
        """
        if len(username) > MAX_USERNAME_LENGTH or len(password) > MAX_LENGTH:
            self._on_refused(username[:MAX_USERNAME_LENGTH], address, throttled=False)
            raise InvalidCredentials
        seal = self._seal(username, password)
        if (account := self._remembered(username, password, seal, address)) is not None:
            return account
        # One turn of the event loop each: a crowd that comes at once must not keep those who are known from theirs.
        async with self._turns:
            pass
        if (account := self._remembered(username, password, seal, address)) is not None:
            return account  # verified for another request meanwhile
        # Shielded: the verification is booked, and serves the others, even if this client goes away.
        account = await asyncio.shield(self._verification(username, password, seal, address))
        if account is None:
            self._on_refused(username, address, throttled=False)
            raise InvalidCredentials
        return account

    def distrust(self, username: str | None) -> None:
        """Verify an account that has changed anew, or all of them for None, before anyone gets in again."""
        self._generation += 1
        for known in self._verified.values() if username is None else filter(None, [self._verified.get(username)]):
            known.renew_at = known.fresh_until = -inf

    async def watch(self) -> Never:
        """Heed the changes that any process makes, for ever; run it as a task beside the service."""
        pause = FIRST_PAUSE
        while True:
            try:
                async for username in self._users.changes():
                    self.distrust(username)
                    pause = FIRST_PAUSE
            except Exception:
                _logger.exception("the stream of account changes failed")
            self.distrust(None)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _known(self, username: str, seal: bytes) -> _Verified | None:
        known = self._verified.get(username)
        return known if known is not None and compare_digest(known.seal, seal) else None

    def _remembered(self, username: str, password: str, seal: bytes, address: str) -> Account | None:
        """The account, if it can be told without waiting; begins to verify it anew when it is time."""
        known = self._known(username, seal)
        if known is None:
            return None
        now = self._clock.monotonic()
        if known.renew_at <= now < known.fresh_until:
            # The next request tries only a while later, in case this attempt finds the hasher busy.
            known.renew_at = now + self._ttl / _RENEWALS
            self._verification(username, password, seal, address)
        return known.account if now < known.fresh_until else None

    def _seal(self, username: str, password: str) -> bytes:
        # Keyed BLAKE2 is a MAC by itself (RFC 7693, section 2.9), a third of the cost of HMAC-SHA-256. The
        # length keeps ("a", "bc") and ("ab", "c") apart.
        text = f"{len(username)}:{username}{password}".encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=32, key=self._key).digest()

    def _verification(self, username: str, password: str, seal: bytes, address: str) -> asyncio.Task[Account | None]:
        """The verification of this credential that is under way, or a new one."""
        # A change starts a new generation: who comes after it does not join a verification from before it.
        attempt = (self._generation, seal)
        task = self._under_way.get(attempt)
        if task is None:
            stranger = self._known(username, seal) is None
            refund = self._charge(username, address) if stranger else _nothing
            task = asyncio.create_task(self._verify(username, password, seal, refund))
            self._under_way[attempt] = task
            self._strangers += stranger
            task.add_done_callback(lambda task: self._end(attempt, task, stranger=stranger))
        return task

    def _charge(self, username: str, address: str) -> Callable[[], None]:
        """Count an attempt as failed; the result takes that back."""
        now = self._clock.monotonic()
        network = _network(address)
        wait = max(self._accounts.wait(username, now), self._addresses.wait(network, now))
        if wait > 0:
            self._on_refused(username, address, throttled=True)
            raise TooManyAttempts(wait)
        if self._strangers >= self._most_strangers:
            raise PasswordHasherBusy("too many sign-ins are waiting")
        self._accounts.charge(username, now)
        self._addresses.charge(network, now)

        def refund() -> None:
            now = self._clock.monotonic()
            self._accounts.refund(username, now)
            self._addresses.refund(network, now)

        return refund

    async def _verify(self, username: str, password: str, seal: bytes, refund: Callable[[], None]) -> Account | None:
        generation = self._generation
        password = normalize(password)
        try:
            account = await self._users.get(username)
            right = await self._hasher.verify(account.password_hash if account else None, password)
        except BaseException:
            refund()  # nothing was found out
            raise
        if account is None or account.disabled or not right:
            if self._known(username, seal) is not None:
                del self._verified[username]
            return None
        refund()
        if self._hasher.needs_rehash(account.password_hash):
            # Whatever prevents it, the next sign-in tries again.
            with suppress(ChurnError):
                account = await self._rehash(account, password)
        if self._ttl > 0:
            now = self._clock.monotonic() if generation == self._generation else -inf
            self._remember(_Verified(seal, account, now + self._ttl / 2, now + self._ttl))
        return account

    async def _rehash(self, account: Account, password: str) -> Account:
        """The account with a newer hash of its `password`; as it was if that has changed meanwhile."""
        password_hash = await self._hasher.hash(password)
        updated = await self._users.update(
            account.username, password_hash=password_hash, if_password_hash=account.password_hash
        )
        return updated if updated.password_hash == password_hash else account

    def _remember(self, credential: _Verified) -> None:
        self._verified.pop(credential.account.username, None)
        while len(self._verified) >= self._capacity:
            # Insertion order is the order of the last verification.
            del self._verified[next(iter(self._verified))]
        self._verified[credential.account.username] = credential

    def _end(self, attempt: tuple[int, bytes], task: asyncio.Task[Account | None], *, stranger: bool) -> None:
        del self._under_way[attempt]
        self._strangers -= stranger
        if not task.cancelled():
            # Read, so that a failure that no client waits for any more is not reported as lost.
            task.exception()


def _nothing() -> None:
    """There was no charge."""


def _network(address: str) -> str:
    """What an attacker cannot change at will: the address, or the /64 of an IPv6 address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    return str(ip.ipv4_mapped or IPv6Network((int(ip), 64), strict=False))
