"""HTTP/1.1 from clients that take their time: uvicorn's own protocol knows no limit on how long a request arrives."""

import asyncio
from typing import Any, Final, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a request line and its headers: what browsers and proxies send is a tenth of it.
LARGEST_HEAD: Final = 1 << 16


class PunctualProtocol(HttpToolsProtocol):
    """Hangs up on a request that has not arrived, head and body, `arrival_timeout` seconds after it began.

    The first one begins with its connection. The time does not count while the service itself does not read on.
    """

    def __init__(self, *arguments: Any, arrival_timeout: float, **others: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **others)
        self._arrival_timeout = arrival_timeout
        self._arrival: asyncio.TimerHandle | None = None
        self._arriving = self._in_head = False
        self._head_size = 0

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
        # A request that came in one piece, as nearly all do, has begun and ended in the line above.
        if not self._arriving:
            self._arrived()
        elif self._arrival is None:
            self._expect()
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._head_size = 0

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._arriving = False
        super().on_message_complete()

    def _expect(self) -> None:
        self._arrival = self.loop.call_later(self._arrival_timeout, self._give_up)

    def _arrived(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _give_up(self) -> None:
        if self.flow.read_paused:
            self._expect()
        else:
            self.transport.close()
