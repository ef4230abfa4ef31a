"""The chain shows every change of the audit trail but one: that it was cut off at its end."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from churn.adapters.memory import MemoryAuditTrail
from churn.domain.audit import GENESIS, AuditEntry, AuditEvent, Breach, Chain, link
from churn.use_cases.verify_audit import Head, VerifyAudit

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def event(**changes: object) -> AuditEvent:
    values = {
        "at": AT,
        "account": "anne",
        "action": "account-created",
        "subject": "bruno",
        "details": {"role": "admin"},
    }
    return AuditEvent(**values | changes)


def chain(length: int) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(1, length + 1):
        previous = entries[-1].hash if entries else GENESIS
        entries.append(link(event(details={"n": number}), number=number, previous=previous))
    return entries


def test_the_hash_can_be_computed_by_anyone() -> None:
    """It is that of the text the docstring describes, whatever the zone of the moment and the order of the details."""
    text = f'[7,"2026-03-01T12:30:15.123456Z","anne","account-created",null,{{"a":1,"b":true}},"{"ab" * 32}"]'
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    entry = link(
        event(at=elsewhere, subject=None, details={"b": True, "a": 1}), number=7, previous=bytes.fromhex("ab" * 32)
    )
    assert entry.hash == hashlib.sha256(text.encode()).digest()


def test_an_untouched_chain_has_no_breach() -> None:
    """However it is cut into batches."""
    entries = chain(10)
    followed = Chain()
    assert followed.follow([]) == followed.follow(entries[:3]) == followed.follow(entries[3:]) == []
    assert (followed.number, followed.hash) == (10, entries[-1].hash)


@given(
    position=st.integers(0, 9),
    changes=st.sampled_from(
        [
            {"account": "root"}, {"account": None}, {"action": "x"}, {"subject": None}, {"details": {}},
            {"at": AT + timedelta(microseconds=1)}, {"hash": bytes(32)},
        ]
    ),
)  # fmt: skip
def test_a_change_shows(position: int, changes: dict[str, object]) -> None:
    """Of any field of any entry; a hash that was changed too also breaks the entry after it."""
    entries = chain(10)
    entries[position] = replace(entries[position], **changes)
    expected = [position + 1, position + 2][: 1 + ("hash" in changes and position < 9)]
    assert Chain().follow(entries) == [Breach(number, "altered") for number in expected]


@given(start=st.integers(0, 8), length=st.integers(1, 5))
def test_what_was_removed_shows(start: int, length: int) -> None:
    """At the beginning and in the middle; whoever numbers the rest anew alters it."""
    entries = chain(10)
    end = min(start + length, 9)
    left = entries[:start] + entries[end:]
    assert Chain().follow(left) == [Breach(number, "missing") for number in range(start + 1, end + 1)]
    renumbered = [replace(entry, number=number) for number, entry in enumerate(left, 1)]
    assert Chain().follow(renumbered)[0] == Breach(start + 1, "altered")


def test_what_was_inserted_shows() -> None:
    """Even when its own hash is right, because the entries after it have other numbers and another past."""
    entries = chain(5)
    forged = link(event(subject="mallory"), number=3, previous=entries[1].hash)
    rest = [replace(entry, number=entry.number + 1) for entry in entries[2:]]
    assert Breach(4, "altered") in Chain().follow([*entries[:2], forged, *rest])


async def trail_of(entries: list[AuditEntry]) -> MemoryAuditTrail:
    trail = MemoryAuditTrail()
    trail._entries = entries
    return trail


@pytest.mark.parametrize(("expected", "kept"), [(None, None), (0, True), (3, True), (5, True), (6, False)])
async def test_an_earlier_head_shows_a_cut(expected: int | None, kept: bool | None) -> None:
    """The chain alone does not: it is as whole as it was five entries ago."""
    full = chain(8)
    verify = VerifyAudit(trail=await trail_of(full[:5]))
    head = None if expected is None else Head(expected, full[expected - 1].hash if expected else GENESIS)
    verified = await verify(head)
    assert (verified.breaches, verified.head, verified.kept) == ((), Head(5, full[4].hash), kept)


async def test_an_earlier_head_shows_a_chain_written_anew() -> None:
    """Which is as whole as the one it replaces."""
    full = chain(1)
    forged = [link(event(), number=1, previous=GENESIS)]
    assert (await VerifyAudit(trail=await trail_of(forged))(Head(1, full[0].hash))).kept is False
