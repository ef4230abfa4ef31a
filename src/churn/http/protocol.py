"""HTTP/1.1 as uvicorn speaks it, but requests have to arrive in time and answers leave in one piece."""

import asyncio
from typing import Any, Final, cast, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: Bytes of a request line and its headers: what browsers and proxies send is a tenth of it.
LARGEST_HEAD: Final = 1 << 16


class OnePiece:
    """A transport that sends the head of an answer together with what follows in the same turn of the loop.

    uvicorn writes them one after the other: two system calls and two packets for each answer.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a transport can do
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, or keep it for a moment if it is a head."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        elif data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._send_head)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what has been kept, then close."""
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""


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
        self.transport = cast("asyncio.Transport", OnePiece(transport, self.loop))
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
