"""Refused sign-ins are remembered, and however many there are they cost little."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from churn.adapters.memory import MemoryAuditTrail, MemoryClock, MemoryUserStore
from churn.domain.account import Account, Role
from churn.domain.audit import AuditEvent
from churn.domain.errors import StorageUnavailable
from churn.use_cases.audit_sign_ins import PERIOD, AuditSignIns, network_of


class FailingTrail(MemoryAuditTrail):
    """A trail that can be out of order, and counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.writes = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def append(self, events: Sequence[AuditEvent]) -> None:
        if self.fails:
            raise StorageUnavailable("out of order")
        self.meanwhile()
        self.writes += 1
        await super().append(events)


@pytest.fixture
async def users() -> MemoryUserStore:
    users = MemoryUserStore()
    for name in ("anne", "bruno"):
        await users.add(
            Account(username=name, role=Role.ANALYST, password_hash="x", created_at=datetime(2026, 1, 1, tzinfo=UTC))
        )
    return users


@pytest.fixture
def trail() -> FailingTrail:
    return FailingTrail()


@pytest.fixture
def auditor(users: MemoryUserStore, trail: FailingTrail, clock: MemoryClock) -> AuditSignIns:
    return AuditSignIns(trail=trail, users=users, clock=clock, capacity=5)


async def told(trail: FailingTrail) -> list[tuple[str, str | None, dict[str, object]]]:
    return [(entry.action, entry.subject, dict(entry.details)) for entry in await trail.entries(after=0, limit=100)]


async def test_those_that_are_alike_become_two_entries(
    auditor: AuditSignIns, trail: FailingTrail, clock: MemoryClock
) -> None:
    """One at once, and one a minute later for all the others; then nothing, until it happens again."""
    auditor.refused("anne", "192.0.2.7", throttled=False)
    await auditor.write()
    for _ in range(500):
        auditor.refused("anne", "192.0.2.9", throttled=False)
        await auditor.write()
    first = ("sign-in-failed", "anne", {"times": 1, "network": "192.0.2.0/24"})
    assert await told(trail) == [first]
    clock.advance(PERIOD)
    await auditor.write()
    assert await told(trail) == [first, ("sign-in-failed", "anne", {"times": 500, "network": "192.0.2.0/24"})]
    for _ in range(2):
        clock.advance(PERIOD)
        await auditor.write()
    auditor.refused("anne", "192.0.2.7", throttled=False)
    await auditor.write()
    assert (await told(trail))[2:] == [first]
    assert trail.writes == 3


async def test_what_differs_is_told_apart(auditor: AuditSignIns, trail: FailingTrail) -> None:
    """By account, network, and whether it was throttled."""
    for name, address, throttled in (
        ("anne", "192.0.2.1", False), ("anne", "192.0.2.1", True), ("anne", "2001:db8::1", False),
        ("bruno", "192.0.2.1", False),
    ):  # fmt: skip
        auditor.refused(name, address, throttled=throttled)
    await auditor.write()
    assert await told(trail) == [
        ("sign-in-failed", "anne", {"times": 1, "network": "192.0.2.0/24"}),
        ("sign-in-throttled", "anne", {"times": 1, "network": "192.0.2.0/24"}),
        ("sign-in-failed", "anne", {"times": 1, "network": "2001:db8::/48"}),
        ("sign-in-failed", "bruno", {"times": 1, "network": "192.0.2.0/24"}),
    ]


async def test_a_name_that_is_no_account_is_not_written_down(
    auditor: AuditSignIns, trail: FailingTrail, clock: MemoryClock
) -> None:
    """It may be a password in the wrong field: such names are counted, and alike."""
    for name in ("hunter2", "hunter3", "hunter3", ""):
        auditor.refused(name, "192.0.2.1", throttled=False)
    await auditor.write()
    for n in range(500):
        auditor.refused(f"guess{n}", "192.0.2.1", throttled=False)
        await auditor.write()
    assert await told(trail) == [("sign-in-failed", None, {"times": 4, "network": "192.0.2.0/24"})]
    clock.advance(PERIOD)
    await auditor.write()
    assert (await told(trail))[1:] == [("sign-in-failed", None, {"times": 500, "network": "192.0.2.0/24"})]


async def test_beyond_its_capacity_it_only_counts(
    auditor: AuditSignIns, trail: FailingTrail, clock: MemoryClock
) -> None:
    """An attack with ever new names, from ever new addresses, is bounded in memory and in the database."""
    for n in range(1000):
        auditor.refused(f"name{n}", f"10.{n // 250}.{n % 250}.1", throttled=False)
        await auditor.write()
    assert len(auditor._tallies) == 6
    clock.advance(PERIOD)
    await auditor.write()
    entries = await told(trail)
    assert len(entries) <= 5 + 2
    unrecorded = [details["times"] for action, _, details in entries if action == "sign-ins-unrecorded"]
    assert sum(unrecorded) == 995
    clock.advance(PERIOD)
    await auditor.write()
    auditor.refused("anne", "10.0.0.1", throttled=False)
    await auditor.write()
    assert (await told(trail))[-1][:2] == ("sign-in-failed", "anne")


async def test_what_cannot_be_written_waits(auditor: AuditSignIns, trail: FailingTrail) -> None:
    """An outage of the database loses nothing, and breaks nothing."""
    trail.fails = True
    auditor.refused("anne", "192.0.2.1", throttled=False)
    await auditor.write()
    auditor.refused("anne", "192.0.2.1", throttled=False)
    trail.fails = False
    await auditor.write()
    assert await told(trail) == [("sign-in-failed", "anne", {"times": 2, "network": "192.0.2.0/24"})]


async def test_what_comes_while_it_writes_is_not_lost(
    auditor: AuditSignIns, trail: FailingTrail, clock: MemoryClock
) -> None:
    """It is counted with those of the next minute."""
    trail.meanwhile = lambda: auditor.refused("anne", "192.0.2.1", throttled=False)
    auditor.refused("anne", "192.0.2.1", throttled=False)
    await auditor.write()
    trail.meanwhile = lambda: None
    clock.advance(PERIOD)
    await auditor.write()
    assert [details["times"] for _, _, details in await told(trail)] == [1, 1]


async def test_a_stop_writes_what_there_is(auditor: AuditSignIns, trail: FailingTrail) -> None:
    """Also what was not due yet."""
    await auditor.start()
    auditor.refused("anne", "192.0.2.1", throttled=False)
    await auditor.write()
    auditor.refused("anne", "192.0.2.1", throttled=False)
    await auditor.stop()
    assert [details["times"] for _, _, details in await told(trail)] == [1, 1]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("", ""),
        ("not an address", ""),
    ],
)
def test_an_address_is_kept_as_its_network(address: str, network: str) -> None:
    """No entry holds one person's address."""
    assert network_of(address) == network
