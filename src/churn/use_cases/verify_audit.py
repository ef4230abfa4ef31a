"""Is the audit trail still what was written?"""

from typing import Final

from msgspec import Struct

from churn.domain.audit import Breach, Chain
from churn.ports import AuditTrail

#: Entries read at a time.
_BATCH: Final = 5000
#: Breaches that are told.
_MOST_BREACHES: Final = 100


class Head(Struct, frozen=True):
    """Where the trail ended at some moment. Kept elsewhere, it shows whether the trail was cut or written anew."""

    number: int
    hash: bytes


class Verified(Struct, frozen=True, kw_only=True):
    """What a look at the whole trail has shown."""

    head: Head
    """Where it ends; number 0 and zeros when it is empty."""
    breaches: tuple[Breach, ...]
    """The first hundred, in the order of their numbers."""
    kept: bool | None
    """Whether the head that was expected is in it, unchanged; None when none was."""


class VerifyAudit:
    """Follows the whole chain."""

    def __init__(self, *, trail: AuditTrail) -> None:
        self._trail = trail

    async def __call__(self, expected: Head | None = None) -> Verified:
        """Every breach, and whether `expected`, an earlier head, is still there.

        Raises:
            Unavailable: it cannot be told now.
        """
        chain = Chain()
        breaches: list[Breach] = []
        kept = None if expected is None else expected == Head(0, chain.hash)
        while entries := await self._trail.entries(after=chain.number, limit=_BATCH):
            breaches += chain.follow(entries)
            if expected is not None and any(Head(entry.number, entry.hash) == expected for entry in entries):
                kept = True
        return Verified(head=Head(chain.number, chain.hash), breaches=tuple(breaches[:_MOST_BREACHES]), kept=kept)
