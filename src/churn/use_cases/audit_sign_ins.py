"""Who tried to get in, and failed?"""

import asyncio
import logging
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from churn.domain.audit import Action, AuditEvent
from churn.ports import AuditTrail, Clock, UserStore

#: Seconds to gather refused sign-ins before they are written together: nobody waits for them.
GATHERING: Final = 1.0
#: Seconds over which sign-ins that are refused alike become one entry, but for the first of them.
PERIOD: Final = 60.0

_logger = logging.getLogger(__name__)


class _Key(Struct, frozen=True):
    """What makes two refused sign-ins alike."""

    action: Action
    username: str = ""
    """As it was tried, until it turns out that there is no such account: people mistake the fields."""
    network: str = ""


_OVERFLOW: Final = _Key(Action.SIGN_INS_UNRECORDED)


class _Tally(Struct):
    count: int
    due: float
    """The monotonic moment from which it is to be written."""


class AuditSignIns:
    """Tells the audit trail of refused sign-ins, in the background, whatever their number.

    The first of a kind is written within a second or so, and those like it in the following minute together at its
    end. Kinds beyond the capacity are counted and no more. So a process writes once a second at most, and a bounded
    number of entries a minute, while an attack lasts. What is not written yet is lost in a crash.
    """

    def __init__(self, *, trail: AuditTrail, users: UserStore, clock: Clock, capacity: int = 200) -> None:
        """Start nothing yet. `capacity` is in kinds per minute."""
        self._trail = trail
        self._users = users
        self._clock = clock
        self._capacity = capacity
        self._tallies: dict[_Key, _Tally] = {}
        self._refused = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def refused(self, username: str, address: str, *, throttled: bool) -> None:
        """Remember one sign-in that was refused. Takes next to no time, and never fails."""
        action = Action.SIGN_IN_THROTTLED if throttled else Action.SIGN_IN_FAILED
        key = _Key(action, username, network_of(address))
        if key not in self._tallies and len(self._tallies) >= self._capacity:
            key = _OVERFLOW
        self._tallies.setdefault(key, _Tally(0, self._clock.monotonic())).count += 1
        self._refused.set()

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work(), name="sign-in-auditor")

    async def stop(self) -> None:
        """Write what there is, and no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.write(everything=True)

    async def write(self, *, everything: bool = False) -> None:
        """Write what is due, or `everything`; what cannot be written stays for the next time."""
        now = self._clock.monotonic()
        try:
            if any(tally.count for tally in self._due(now, everything=everything).values()):
                self._forget_names({account.username for account in await self._users.all()}, now)
            due = {key: tally.count for key, tally in self._due(now, everything=everything).items()}
            if events := [_event(key, count, self._clock.now()) for key, count in due.items() if count]:
                await self._trail.append(events)
        except Exception as error:  # noqa: BLE001 - the trail must not end with the first outage
            _logger.warning("refused sign-ins cannot be written: %s", type(error).__name__)
            return
        for key, count in due.items():
            # More may have come meanwhile.
            self._tallies[key].count -= count
            self._tallies[key].due = now + PERIOD
            if not count:
                del self._tallies[key]

    def _due(self, now: float, *, everything: bool) -> dict[_Key, _Tally]:
        return {key: tally for key, tally in self._tallies.items() if everything or tally.due <= now}

    def _forget_names(self, known: set[str], now: float) -> None:
        """Make those whose name is no account's alike."""
        for key in [key for key in self._tallies if key.username and key.username not in known]:
            tally = self._tallies.pop(key)
            self._tallies.setdefault(replace(key, username=""), _Tally(0, now)).count += tally.count

    async def _work(self) -> None:
        while True:
            await self._refused.wait()
            await asyncio.sleep(GATHERING)
            await self.write()
            if not self._tallies:
                self._refused.clear()


def _event(key: _Key, count: int, now: datetime) -> AuditEvent:
    details: dict[str, str | int | bool] = {"times": count}
    if key.network:
        details["network"] = key.network
    return AuditEvent(at=now, account=None, action=key.action, subject=key.username or None, details=details)


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The /24 of an IPv4 address, or the /48 of an IPv6 one: enough to see an attack, and not one person's address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip_network((int(ip), 24 if ip.version == 4 else 48), strict=False))  # noqa: PLR2004
