"""What Litestar makes of a connection, through its own extension points, without what a prediction has no use for."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast, override

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import Empty, HTTPReceiveMessage, Receive, Scope, Send

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


class JSONAnswer:
    """An answer with a struct as JSON: an ASGI application, which Litestar calls as it is.

    Its `Response` prepares for files, cookies, hooks and `HEAD`, for the price of what the model does.
    """

    __slots__ = ("_body", "_headers", "_status")

    def __init__(
        self,
        content: msgspec.Struct,
        *,
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = (_CONTENT_TYPE,),
    ) -> None:
        """`headers` has all but the length."""
        self._body = msgspec.json.encode(content)
        self._status = status
        self._headers = headers

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """The ASGI interface."""
        headers = [*self._headers, (b"content-length", b"%d" % len(self._body))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def answer_response(content: type[msgspec.Struct], description: str) -> dict[int, ResponseSpec]:
    """The OpenAPI response of a handler that returns a `JSONAnswer`."""
    return {200: ResponseSpec(content, description=description, generate_examples=False)}
