"""A signed-in browser: how it is recognized, and until when."""

from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Final

from msgspec import Struct

#: By how much the clocks of replicas may differ.
CLOCK_SKEW: Final = timedelta(minutes=5)


class Session(Struct, frozen=True, kw_only=True):
    """One sign-in of one account in one browser."""

    digest: bytes
    """`digest_of` the token that the browser holds; the token itself is kept nowhere."""
    username: str
    credential: bytes
    """`credential_of` the account's password hash at the sign-in."""
    created_at: datetime
    seen_at: datetime
    """Of a recent request: within `SessionLimits.precision` of the last one."""


class SessionLimits(Struct, frozen=True, kw_only=True):
    """How long a session lasts."""

    idle: timedelta
    """Without a request."""
    absolute: timedelta
    """In any case."""

    @property
    def precision(self) -> timedelta:
        """How far `Session.seen_at` may lag behind: not every request is worth a write."""
        return min(timedelta(minutes=1), self.idle / 10)

    def allow(self, session: Session, now: datetime) -> bool:
        """Whether `session` lasts at `now`.

        One that was used in the future has ended: a clock that was set back must not make it last longer.
        """
        return -CLOCK_SKEW <= now - session.seen_at < self.idle and now - session.created_at < self.absolute


def digest_of(token: str) -> bytes:
    """What is stored of a session's token, 32 bytes.

    A plain hash is enough: the token is random, so there is nothing to guess.
    """
    return sha256(token.encode("utf-8", "replace")).digest()


def credential_of(password_hash: str) -> bytes:
    """What a session keeps of the password that it was opened with, 32 bytes; another password has another one."""
    return sha256(password_hash.encode()).digest()


def form_token_of(token: str) -> str:
    """What a form of the session `token` must carry: only a page that the session was shown can know it."""
    return blake2b(b"form", digest_size=24, key=digest_of(token)).hexdigest()
