"""HTTP/1.1 from clients that take their time: uvicorn's own protocol knows no limit on how long a request arrives."""

import asyncio
from typing import Any, Final, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: Bytes of a request line and its headers: what browsers and proxies send is a tenth of it.
LARGEST_HEAD: Final = 1 << 16


class PunctualProtocol(HttpToolsProtocol):
    """Hangs up on a request that has not arrived, head and body, `arrival_timeout` seconds after it began.

    The first one begins with its connection. The time does not count while the service itself does not read on.
    """

    # Beside uvicorn's attributes, which are nearly thirty: beyond that number Python gives up its fast access to all.
    __slots__ = ("_arrival", "_arrival_timeout", "_head_size", "_held_up")

    def __init__(self, *arguments: Any, arrival_timeout: float, **others: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **others)
        self._arrival_timeout = arrival_timeout
        self._arrival: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._held_up = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Told by what uvicorn keeps: a hook in each of the parser's callbacks would cost every request.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self._head_size = 0
            # A request that came in one piece, as nearly all do, has begun and ended in the first line.
            if not cycle.more_body:
                self._arrived()
                return
        else:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")
        if self._arrival is None:
            self._expect()

    def _expect(self) -> None:
        self._arrival = self.loop.call_later(self._arrival_timeout, self._give_up)

    def _arrived(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _give_up(self) -> None:
        # Whoever was held up by the service itself has all of the time once more, from whenever that ends.
        held_up, self._held_up = self._held_up, self.flow.read_paused
        if held_up or self._held_up:
            self._expect()
        else:
            self.transport.close()
