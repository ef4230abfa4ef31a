"""Can this process answer a prediction now?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

#: Seconds that one check may take: orchestrators give a probe little more.
_PATIENCE: Final = 2.0


class CheckReadiness:
    """Asks everything that a prediction needs, all at once."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[bool]]]) -> None:
        """Each of `checks` answers whether its part is ready; raising or hanging counts as no."""
        self._checks = checks

    async def __call__(self) -> dict[str, bool]:
        """Which part is ready, by name."""
        results = await asyncio.gather(
            *(asyncio.wait_for(check(), _PATIENCE) for check in self._checks.values()), return_exceptions=True
        )
        return {name: result is True for name, result in zip(self._checks, results, strict=True)}
