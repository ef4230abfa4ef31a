"""Long computations on an event loop that has other requests to answer."""

import asyncio
from typing import Final

#: Turns of the loop after a slice in which there is none. A short request takes a handful of steps, each a turn, from
#: its arrival to its commit and from there to its answer: it should not wait for a slice at each.
_PAUSE: Final = 4


class Turns:
    """Lets long computations do a slice of their work every few turns of the event loop, all of them together.

    `async with turns:` around a slice of a millisecond or two. However many there are, a short request then waits
    for two or three slices; a thread would not help, because it shares the interpreter's lock.
    """

    def __init__(self, *, pause: int = _PAUSE) -> None:
        """There is a slice every `pause` turns of the loop, at least 1."""
        self._pause = pause
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        try:
            for _turn in range(self._pause):
                await asyncio.sleep(0)
        finally:
            self._lock.release()
