"""Can this process answer a prediction now?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final

#: Seconds that one check may take: orchestrators give a probe little more.
_PATIENCE: Final = 2.0


class Condition(StrEnum):
    """How one part is."""

    OK = "ok"
    LAGGING = "lagging"
    """It works, but not as somebody has decided that it should."""
    FAILED = "failed"


class CheckReadiness:
    """Asks everything that a prediction needs, all at once."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[Condition | bool]]]) -> None:
        """Each of `checks` answers how its part is, or whether it is ready; raising or hanging counts as no."""
        self._checks = checks

    async def __call__(self) -> dict[str, Condition]:
        """How each part is, by name."""
        results = await asyncio.gather(
            *(asyncio.wait_for(check(), _PATIENCE) for check in self._checks.values()), return_exceptions=True
        )
        return {name: _condition(result) for name, result in zip(self._checks, results, strict=True)}


def _condition(result: Condition | bool | BaseException) -> Condition:
    if isinstance(result, Condition):
        return result
    return Condition.OK if result is True else Condition.FAILED
