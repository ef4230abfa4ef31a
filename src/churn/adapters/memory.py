"""A working twin of every port, kept in memory: for tests, and for trying the service without a disk."""

import asyncio
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from churn.domain.account import Account, Role
from churn.domain.errors import StorageUnavailable, UnknownAccount, UsernameTaken
from churn.domain.prediction import HistoryFilter, Prediction


class MemoryClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        """See the port."""
        return self._now

    def monotonic(self) -> float:
        """See the port."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class MemoryHistoryRepository:
    """Fills the port `HistoryRepository`; forgets everything with the process."""

    def __init__(self) -> None:
        self._predictions: dict[UUID, Prediction] = {}

    async def append(self, prediction: Prediction) -> None:
        """See the port."""
        if prediction.id in self._predictions:
            raise StorageUnavailable("the id is taken")
        self._predictions[prediction.id] = prediction

    async def get(self, prediction_id: UUID) -> Prediction | None:
        """See the port."""
        return self._predictions.get(prediction_id)

    async def find(self, criteria: HistoryFilter, *, before: UUID | None, limit: int) -> Sequence[Prediction]:
        """See the port."""
        newest_first = sorted(self._predictions.values(), key=lambda prediction: prediction.id, reverse=True)
        return [
            prediction
            for prediction in newest_first
            if (before is None or prediction.id < before) and _meets(prediction, criteria)
        ][:limit]


def _meets(prediction: Prediction, criteria: HistoryFilter) -> bool:
    return (
        (criteria.since is UNSET or prediction.created_at >= criteria.since)
        and (criteria.until is UNSET or prediction.created_at < criteria.until)
        and criteria.model_version in (UNSET, prediction.model_version)
        and criteria.leaves in (UNSET, prediction.leaves)
        and criteria.employee_ref in (UNSET, prediction.employee.employee_ref)
        and criteria.account in (UNSET, prediction.account)
    )


class MemoryUserStore:
    """Fills the port `UserStore`; forgets everything with the process."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._listeners: set[asyncio.Queue[str | None]] = set()

    async def add(self, account: Account) -> None:
        """See the port."""
        if account.username in self._accounts:
            raise UsernameTaken(account.username)
        self._accounts[account.username] = account

    async def get(self, username: str) -> Account | None:
        """See the port."""
        return self._accounts.get(username)

    async def all(self) -> Sequence[Account]:
        """See the port."""
        return [self._accounts[username] for username in sorted(self._accounts)]

    async def update(
        self,
        username: str,
        *,
        password_hash: str | UnsetType = UNSET,
        role: Role | UnsetType = UNSET,
        disabled: bool | UnsetType = UNSET,
        if_password_hash: str | UnsetType = UNSET,
    ) -> Account:
        """See the port."""
        account = self._accounts.get(username)
        if account is None:
            raise UnknownAccount(username)
        if if_password_hash in (UNSET, account.password_hash):
            changes = {"password_hash": password_hash, "role": role, "disabled": disabled}
            account = replace(account, **{name: value for name, value in changes.items() if value is not UNSET})
            self._accounts[username] = account
            for listener in self._listeners:
                listener.put_nowait(username)
        return account

    async def changes(self) -> AsyncIterator[str | None]:
        """See the port."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class MemoryPasswordHasher:
    """Fills the port `PasswordHasher` with a salted hash that is quick to compute, and so unfit for real passwords."""

    def __init__(self, cost: int = 1) -> None:
        """`cost` is the number of rounds; a hash made with another one needs a rehash."""
        self._cost = cost

    async def hash(self, password: str) -> str:
        """See the port."""
        salt = os.urandom(16)
        return f"$pbkdf2-sha256$i={self._cost}${salt.hex()}${self._digest(password, salt, self._cost)}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """See the port."""
        decoy = f"$pbkdf2-sha256$i={self._cost}${'00' * 16}$"
        try:
            _, _, cost, salt, digest = (password_hash or decoy).split("$")
            computed = self._digest(password, bytes.fromhex(salt), int(cost.removeprefix("i=")))
        except ValueError:
            return False
        return hmac.compare_digest(computed, digest)

    def needs_rehash(self, password_hash: str) -> bool:
        """See the port."""
        return not password_hash.startswith(f"$pbkdf2-sha256$i={self._cost}$")

    @staticmethod
    def _digest(password: str, salt: bytes, cost: int) -> str:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, cost).hex()
