"""Long computations on an event loop that has other requests to answer."""

import asyncio


class Turns:
    """Lets long computations do one slice of their work per turn of the event loop, all of them together.

    `async with turns:` around a slice of a millisecond or two. However many there are, a short request then waits
    for one slice per step that it takes; a thread would not help, because it shares the interpreter's lock.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            self._lock.release()
