"""What Litestar makes of a connection, through its own extension points, without what a prediction has no use for."""

from collections.abc import AsyncGenerator
from typing import Any, Final, cast, override

import msgspec
from litestar import Request, Response
from litestar.exceptions import ClientException, InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import ASGIApp, Empty, HTTPReceiveMessage, HTTPResponseStartEvent, Receive, Scope, Send

from churn.domain.account import Account

_CONTENT_TYPE: Final = (b"content-type", b"application/json")


class ClientGone(ClientException):
    """The client went away before its body had arrived: no failure of ours, and nobody reads the answer."""

    detail = "the client has gone"


class ChurnRequest(Request[Account, Any, Any]):
    """A request, whose body usually comes in one piece."""

    @override
    async def body(self) -> bytes:
        """The whole body.

        Raises:
            RequestEntityTooLarge: it is larger than the route allows.
            ClientGone: it never arrived.
        """
        if self._body is Empty and self.is_connected:
            first = cast("HTTPReceiveMessage", await self.receive())
            if first["type"] == "http.request" and not first.get("more_body"):
                limit = self.route_handler.resolve_request_max_body_size()
                if limit is not None and len(first["body"]) > limit:
                    raise RequestEntityTooLarge
                self.is_connected = False
                self._body = self._connection_state.body = first["body"]
                return first["body"]
            # The general case is Litestar's, from the start, as if nothing had been read.
            self.receive = _starting_with(first, self.receive)
        return await super().body()

    @override
    async def stream(self) -> AsyncGenerator[bytes]:
        """The body as it arrives.

        Raises:
            RequestEntityTooLarge: it is larger than the route allows.
            ClientGone: the rest never arrived.
        """
        try:
            async for chunk in super().stream():
                yield chunk
        except InternalServerException as error:
            # The other cause, a body that has been read before, would be a mistake of ours.
            if self.is_connected:
                raise ClientGone from error
            raise


def _starting_with(first: HTTPReceiveMessage, rest: Receive) -> Receive:
    messages = [first]

    async def receive() -> HTTPReceiveMessage:
        return messages.pop() if messages else cast("HTTPReceiveMessage", await rest())

    return receive


class JSONAnswer(Response[msgspec.Struct]):
    """A struct as JSON, with no header or cookie beyond those that say so."""

    @override
    def to_asgi_response(self, *_: object, **__: object) -> ASGIApp:  # type: ignore[override]
        """Litestar's interface. Its own class prepares for files, cookies and `HEAD`."""
        body = msgspec.json.encode(self.content)
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self.status_code or 200,
            "headers": [_CONTENT_TYPE, (b"content-length", b"%d" % len(body))],
        }

        async def answer(_: Scope, __: Receive, send: Send) -> None:
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})

        return answer
