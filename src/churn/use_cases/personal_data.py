"""What is kept of a person, for how long, and how is it forgotten?"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from churn.domain.audit import Action, AuditEvent
from churn.domain.employee import is_employee_ref
from churn.domain.errors import UnknownEmployee
from churn.domain.language import Language
from churn.domain.personal_data import ABOUT, PersonalRecord, Removed, tell
from churn.ports import AuditTrail, Clock, PersonalData

#: Predictions removed in one transaction: it must be short enough for others to wait.
BATCH: Final = 2000


class Tombstone(Struct, frozen=True, kw_only=True):
    """What is left of an erased person: that there was one. The audit trail has the same."""

    erased_at: datetime
    account: str
    removed: Removed


class ExportEmployee:
    """Hands out everything that is kept under a pseudonym."""

    def __init__(self, *, data: PersonalData, trail: AuditTrail, clock: Clock) -> None:
        self._data = data
        self._trail = trail
        self._clock = clock

    async def __call__(self, employee_ref: str, *, account: str, language: Language) -> PersonalRecord:
        """The whole record, explained in `language`; the audit trail is told before it is given.

        Raises:
            UnknownEmployee: nothing is kept under that pseudonym.
            Unavailable: it cannot be read, or not be audited, now.
        """
        kept = await self._data.of(employee_ref) if is_employee_ref(employee_ref) else ()
        if not kept:
            raise UnknownEmployee
        now = self._clock.now()
        event = AuditEvent(
            at=now,
            account=account,
            action=Action.EMPLOYEE_EXPORTED,
            # Leads to the person as long as anything is kept of them, and to nobody afterwards.
            subject=str(kept[-1].prediction.id),
            details={"predictions": len(kept)},
        )
        await self._trail.append([event])
        return PersonalRecord(
            employee_ref=employee_ref,
            exported_at=now,
            about=ABOUT[language],
            predictions=tuple(tell(item, language) for item in kept),
        )


class EraseEmployee:
    """Forgets everything that is kept under a pseudonym."""

    def __init__(self, *, data: PersonalData, clock: Clock) -> None:
        self._data = data
        self._clock = clock

    async def __call__(self, employee_ref: str, *, account: str) -> Tombstone:
        """What is left. A prediction that is made later under the same pseudonym is kept like any other.

        Raises:
            UnknownEmployee: nothing is kept under that pseudonym.
            Unavailable: it may or may not have been erased; asking again is safe.
        """
        now = self._clock.now()
        removed = None
        if is_employee_ref(employee_ref):
            removed = await self._data.erase(
                employee_ref, audit=lambda removed: _removal(Action.EMPLOYEE_ERASED, removed, at=now, account=account)
            )
        if not removed:
            raise UnknownEmployee
        return Tombstone(erased_at=now, account=account, removed=removed)


class PurgeHistory:
    """Forgets what is older than it need be."""

    def __init__(self, *, data: PersonalData, clock: Clock) -> None:
        self._data = data
        self._clock = clock

    async def count(self, age: timedelta) -> int:
        """How many predictions are older than `age`."""
        return await self._data.older_than(self._clock.now() - age)

    async def __call__(
        self, age: timedelta, *, account: str, on_batch: Callable[[Removed], None], batch: int = BATCH
    ) -> None:
        """Remove the predictions that are older than `age`, the oldest first, with all that hangs on them.

        Each `batch` is a transaction, with its entry in the audit trail, after which `on_batch` is told: whenever it
        stops, what is done is done, and the next call goes on from there.

        Raises:
            Unavailable: the last batch may or may not have been removed.
        """
        before = self._clock.now() - age
        while removed := await self._data.purge(
            before=before,
            limit=batch,
            audit=lambda removed: _removal(
                Action.HISTORY_PURGED, removed, at=self._clock.now(), account=account, before=before.isoformat()
            ),
        ):
            on_batch(removed)


def _removal(action: Action, removed: Removed, *, at: datetime, account: str, **details: str) -> AuditEvent:
    counts: dict[str, str | int | bool] = {name: getattr(removed, name) for name in Removed.__struct_fields__}
    return AuditEvent(at=at, account=account, action=action, details=counts | details)
