"""Before a replica stops listening, whoever shares the load among replicas is told, and gets the time to hear it."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Farewell:
    """Holds SIGTERM up for `seconds`, in which requests are answered as ever and `begun` is true."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.begun = False

    @contextmanager
    def heeding_sigterm(self) -> Iterator[None]:
        """Enter from the event loop of the main thread. A second SIGTERM stops at once."""
        stop = signal.getsignal(signal.SIGTERM)
        if self._seconds == 0 or not callable(stop):
            yield
            return
        loop = asyncio.get_running_loop()

        def heed(number: int, frame: FrameType | None) -> None:
            if self.begun:
                stop(number, frame)
            else:
                self.begun = True
                # The handler may interrupt the loop anywhere.
                loop.call_soon_threadsafe(loop.call_later, self._seconds, stop, number, frame)

        signal.signal(signal.SIGTERM, heed)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)
