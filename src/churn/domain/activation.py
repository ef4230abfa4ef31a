"""Which model versions serve: the record of who decided it, and how well two of them agree."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

#: Starts with a visible character and has no control character, which a log or PostgreSQL could not keep.
#: Python's `$` alone would let a trailing newline pass.
REASON_PATTERN: Final = r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,499}$(?!\n)"

Reason = Annotated[str, Meta(pattern=REASON_PATTERN, max_length=500)]


class Activation(Struct, frozen=True, kw_only=True):
    """One decision about which versions serve: an entry of a log that only grows. The last one is in force."""

    number: int
    """Position in the log, from 1 on, without a gap."""
    at: datetime
    account: str
    """Username of who decided, or `cli:` and the name of the machine's user."""
    action: Literal["activate", "roll_back", "shadow"]
    previous: str | None
    """Version that answered before; None when no entry named one."""
    version: str | None
    """Version that answers from now on; None: the one that each process was started with."""
    shadow: str | None
    """Version that scores the same requests from now on without answering; None: none."""
    reason: str


class ShadowScore(Struct, frozen=True, kw_only=True):
    """What a version that does not answer made of a request that another one answered."""

    prediction_id: UUID
    """Of the prediction that was answered."""
    model_version: str
    """The shadow's."""
    probability: float
    leaves: bool
    """Whether the probability reaches the shadow's own threshold."""


class Agreement(Struct, frozen=True, kw_only=True):
    """How far two versions agreed on the same requests, one of them answering and the other as its shadow."""

    n: int
    """Requests that both have scored."""
    mean_absolute_difference: float | None
    """Between their probabilities; None when there is no such request."""
    equal_classes: float | None
    """Share of requests that both classed alike, each by its threshold; None when there is none."""
    correlation: float | None
    """Pearson's, between their probabilities; None with fewer than two requests or a constant version."""


def rollback_target(log: Sequence[Activation]) -> str | None:
    """The version that a rollback returns to after `log`, oldest first; None if there is none.

    An activation puts its version on a stack and a rollback takes it off again, so that a second rollback
    goes further back, rather than forth to what the first has just left.
    """
    stack: list[str] = []
    for entry in log:
        if entry.action == "roll_back":
            stack = stack[:-1]
        elif entry.action == "activate" and entry.version is not None:
            if not stack and entry.previous not in (None, entry.version):
                stack.append(entry.previous)
            stack.append(entry.version)
    return stack[-2] if len(stack) > 1 else None
