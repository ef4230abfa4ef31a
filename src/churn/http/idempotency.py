"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request sent again is answered as at first."""

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, cast

import msgspec
from litestar import Response
from litestar.exceptions import ValidationException
from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, OpenAPIType, Parameter, Schema
from litestar.types import Scope

from churn.domain.answer import Answer
from churn.http.connection import ChurnRequest, JSONAnswer
from churn.http.headers import has_header, header
from churn.http.operation import TrueOperation
from churn.use_cases.answer_once import AnswerOnce

_NAME: Final = "Idempotency-Key"
#: A string of RFC 9651 as the draft has it, or the same without quotation marks, as most clients send it.
_KEY: Final = re.compile(r'"([\x20!#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})')
_REPLAYED: Final = "idempotency-replayed"


class OnceOperation(TrueOperation):
    """An operation that heeds the header."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parameter = Parameter(
            name=_NAME,
            param_in="header",
            schema=Schema(type=OpenAPIType.STRING, pattern="^[!#-\\[\\]-~]{1,255}$"),
            description=(
                "Choisie par le client, différente pour chaque demande. La même demande sous la même clé reçoit la "
                "première réponse sans rien changer de plus ; une autre est refusée (422)."
            ),
        )
        self.parameters = [*(self.parameters or ()), parameter]
        success = (self.responses or {}).get("200")
        if isinstance(success, OpenAPIResponse):
            success.headers = (success.headers or {}) | {
                "Idempotency-Replayed": OpenAPIHeader(
                    schema=Schema(type=OpenAPIType.STRING), description="`true` : c'est la première réponse."
                )
            }


def has_key(scope: Scope) -> bool:
    """Whether a request carries a key, or what should be one."""
    return has_header(scope, b"idempotency-key")


def key_of(scope: Scope) -> str | None:
    """The key that a request carries.

    Raises:
        ValidationException: it is no key, or there are several.
    """
    if not has_key(scope):
        return None
    values = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    match = _KEY.fullmatch(values[0].decode("latin-1").strip(" \t"))
    if match is None or len(values) > 1:
        raise ValidationException(extra=[{"key": _NAME, "source": "header"}])
    return match[1] or match[2]


async def once(
    request: ChurnRequest, answer_once: AnswerOnce, act: Callable[[], Awaitable[msgspec.Struct]]
) -> JSONAnswer:
    """What `act` gives; under a key, as a response that is kept and given again.

    Raises:
        ValidationException: the key is none.
        KeyReused, AnswerErased, Unavailable: see `AnswerOnce`.
    """
    key = key_of(request.scope)
    if key is None:
        return JSONAnswer(await act())

    async def answer() -> Answer:
        return Answer("application/json", msgspec.json.encode(await act()))

    # Litestar takes a response for what it is, whatever else a handler may give.
    return cast("JSONAnswer", await answered_once(request, answer_once, key, await request.body(), answer))


async def answered_once(
    request: ChurnRequest, answer_once: AnswerOnce, key: str, body: bytes, answer: Callable[[], Awaitable[Answer]]
) -> Response[bytes]:
    """The answer to `request`, whose whole body is `body`, under `key`."""
    kept, replayed = await answer_once(key, _fingerprint(request, body), account=request.user.username, answer=answer)
    return Response(kept.body, media_type=kept.media_type, headers={_REPLAYED: "true"} if replayed else None)


def _fingerprint(request: ChurnRequest, body: bytes) -> bytes:
    scope = request.scope
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    lengths = b",".join(b"%d" % len(part) for part in parts)
    content_type = header(scope, b"content-type").encode()
    return sha256(b"\0".join((lengths, *parts, content_type))).digest()
