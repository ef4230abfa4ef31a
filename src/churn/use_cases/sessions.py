"""Who is signed in to the console?"""

from hmac import compare_digest
from secrets import token_urlsafe
from typing import Final

from msgspec import Struct

from churn.domain.account import Account
from churn.domain.errors import InvalidCredentials
from churn.domain.session import Session, SessionLimits, credential_of, digest_of
from churn.ports import Clock, SessionStore, UserStore
from churn.use_cases.authenticate import Authenticate

#: Of randomness in a token: twice what OWASP asks of a session id.
TOKEN_BYTES: Final = 32


class SignedIn(Struct, frozen=True):
    """An account, and the secret by which its browser is recognized from now on."""

    account: Account
    token: str


class SignIn:
    """Opens a session for who proves to be an account."""

    def __init__(
        self, *, authenticate: Authenticate, sessions: SessionStore, clock: Clock, limits: SessionLimits
    ) -> None:
        self._authenticate = authenticate
        self._sessions = sessions
        self._clock = clock
        self._limits = limits

    async def __call__(self, username: str, password: str, *, address: str, replaces: str) -> SignedIn:
        """A new session of `username`; the one of the token `replaces`, which the browser came with, ends.

        Raises:
            InvalidCredentials: there is no such enabled account, or it has another password.
            TooManyAttempts: too many failed, on the account or from `address`.
            Unavailable: it cannot be told now.
        """
        account = await self._authenticate(username, password, address)
        now = self._clock.now()
        if replaces:
            await self._sessions.end(digest_of(replaces))
        # Here, because it happens often enough, and nobody waits for anything that is worth less.
        await self._sessions.purge(created_before=now - self._limits.absolute, seen_before=now - self._limits.idle)
        token = token_urlsafe(TOKEN_BYTES)
        await self._sessions.add(
            Session(
                digest=digest_of(token),
                username=account.username,
                credential=credential_of(account.password_hash),
                created_at=now,
                seen_at=now,
            )
        )
        return SignedIn(account, token)


class ResumeSession:
    """Recognizes the browser of a session.

    The account is read each time, so a session ends everywhere, at once, when its account is disabled or
    gets another password, whoever changes that and by whatever means; a change of role holds at once too.
    """

    def __init__(self, *, sessions: SessionStore, users: UserStore, clock: Clock, limits: SessionLimits) -> None:
        self._sessions = sessions
        self._users = users
        self._clock = clock
        self._limits = limits

    async def __call__(self, token: str) -> Account:
        """The account whose session `token` opens.

        Raises:
            InvalidCredentials: there is none, or it has ended.
            Unavailable: it cannot be told now.
        """
        session = await self._sessions.get(digest_of(token)) if token else None
        now = self._clock.now()
        if session is None or not self._limits.allow(session, now):
            raise InvalidCredentials
        account = await self._users.get(session.username)
        if (
            account is None
            or account.disabled
            or not compare_digest(credential_of(account.password_hash), session.credential)
        ):
            await self._sessions.end(session.digest)
            raise InvalidCredentials
        if now - session.seen_at >= self._limits.precision:
            await self._sessions.touch(session.digest, now)
        return account


class SignOut:
    """Ends a session."""

    def __init__(self, *, sessions: SessionStore) -> None:
        self._sessions = sessions

    async def __call__(self, token: str) -> None:
        """The session of `token` is no more.

        Raises:
            Unavailable: it may or may not have ended.
        """
        await self._sessions.end(digest_of(token))
