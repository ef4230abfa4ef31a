"""Who did what: events, and the chain that shows whether one of them was changed or taken away."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

import msgspec
from msgspec import Struct


class Action(StrEnum):
    """What can be done that is worth remembering."""

    SIGN_IN_FAILED = "sign-in-failed"
    SIGN_IN_THROTTLED = "sign-in-throttled"
    SIGN_INS_UNRECORDED = "sign-ins-unrecorded"
    """More refused sign-ins than can be told apart: only their number is known."""
    ACCOUNT_CREATED = "account-created"
    ACCOUNT_CHANGED = "account-changed"
    MODEL_ACTIVATED = "model-activated"
    MODEL_ROLLED_BACK = "model-rolled-back"
    MODEL_SHADOWED = "model-shadowed"
    OUTCOMES_RECORDED = "outcomes-recorded"
    PREDICTION_REVIEWED = "prediction-reviewed"
    EMPLOYEE_EXPORTED = "employee-exported"
    EMPLOYEE_ERASED = "employee-erased"
    HISTORY_EXPORTED = "history-exported"
    HISTORY_PURGED = "history-purged"


class AuditEvent(Struct, frozen=True, kw_only=True):
    """Something that was done. It names accounts, never an employee: it outlives whoever is erased."""

    at: datetime
    """Aware."""
    account: str | None
    """Username of who did it, or `cli:` and the name of the machine's user; None: nobody who signed in."""
    action: str
    """An `Action`, or one that a later release has added."""
    subject: str | None = None
    """What it was done to: a username, a version of the model or the id of a prediction; None: see `details`."""
    details: Mapping[str, str | int | bool] = {}
    """What else there is to say, without free text, which could name anybody."""


class AuditEntry(AuditEvent, frozen=True, kw_only=True):
    """An event in its place in the chain."""

    number: int
    """From 1 on, without a gap."""
    hash: bytes
    """SHA-256 of the event, its number and the hash of the entry before: see `link`."""


#: Stands for the hash of the entry before the first.
GENESIS: Final = bytes(32)


def link(event: AuditEvent, *, number: int, previous: bytes) -> AuditEntry:
    """`event` as entry `number`, after the one whose hash is `previous`.

    The hash is that of a JSON list without spaces, keys in the order of their code points, moments in UTC as in
    RFC 3339: number, moment, account, action, subject, details, hash of the entry before in hexadecimal.
    """
    at = event.at.astimezone(UTC)
    content = (number, at, event.account, event.action, event.subject, event.details, previous.hex())
    digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic")).digest()
    return AuditEntry(
        at=at,
        account=event.account,
        action=event.action,
        subject=event.subject,
        details=event.details,
        number=number,
        hash=digest,
    )


class Breach(Struct, frozen=True):
    """A place where the chain is broken."""

    number: int
    """Of the entry."""
    kind: Literal["missing", "altered"]
    """`altered`: its content is not what its hash and the entry before say, as when it was changed or inserted."""


class Chain:
    """Follows the entries in the order of their numbers, and notices each breach."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last entry seen."""
        self.hash = GENESIS
        """Of the last entry seen."""

    def follow(self, entries: Iterable[AuditEntry]) -> list[Breach]:
        """The breaches in `entries`, which come after those seen so far. Each breach is told once."""
        breaches: list[Breach] = []
        for entry in entries:
            missing = [Breach(number, "missing") for number in range(self.number + 1, entry.number)]
            breaches += missing
            # What comes after a gap cannot be checked against what came before it.
            if not missing and link(entry, number=self.number + 1, previous=self.hash) != entry:
                breaches.append(Breach(entry.number, "altered"))
            self.number, self.hash = entry.number, entry.hash
        return breaches
