"""JSON request bodies: decoded strictly, or refused with every error at once.

The usual case is one pass of msgspec. Only when that pass fails, or cannot rule out a repeated key, is the
body read again, slowly, to name each thing that is wrong with it by JSON Pointer and never by value.
"""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from math import isfinite
from typing import Any, Final

import msgspec
from litestar.dto import AbstractDTO
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Reference
from litestar.types import Scope
from litestar.typing import FieldDefinition

from churn.domain.expectation import MISSING, Text, expectations
from churn.domain.language import Language
from churn.http.headers import header

#: More than this is noise to a reader, and lets a hostile body choose the size of our answer.
MOST_ERRORS: Final = 50
_LONGEST_NAME: Final = 64


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    pointer: str
    """JSON Pointer (RFC 6901) into the body; empty for the body as a whole."""
    code: str
    """`missing`, `unknown`, `duplicate`, `invalid` or `malformed`."""
    detail: Text
    suggestion: str | None = None
    """For `unknown`: the known field that it resembles most."""


class InvalidBody(Exception):
    """The body is not what the operation takes."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("the request body is invalid")
        self.errors = errors


class UnsupportedMediaType(HTTPException):
    """The body is in a format that the operation does not take."""

    status_code = 415
    detail = "application/json"


class TooLarge(Exception):
    """The body is larger than allowed, in one way or another."""

    def __init__(self, code: str, detail: Text) -> None:
        """`detail` names the limit."""
        super().__init__("the request body is too large")
        self.code = code
        self.detail = detail


class StrictJSON[T](AbstractDTO[T]):
    """Reads the body of a handler as `T`: use as `dto=StrictJSON[Employee]`."""

    @classmethod
    def create_for_field_definition(cls, *_: object, **__: object) -> None:
        """Nothing to prepare: `decode_bytes` needs no transfer model."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:  # noqa: ANN401 - Litestar's own types here are private
        """The schema of `T` itself, which says that unknown fields are refused."""
        del handler_id
        schema = schema_creator.for_field_definition(field_definition)
        for reference in [schema] if isinstance(schema, Reference) else schema.all_of:
            schema_creator.schema_registry.from_reference(reference).schema.additional_properties = False
        return schema

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Any:  # noqa: ANN401
        """Never called: there is no transfer model."""
        raise NotImplementedError

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Never called: there is no transfer model."""
        raise NotImplementedError

    def decode_bytes(self, value: bytes) -> T:
        """The body as `T`.

        Raises:
            UnsupportedMediaType: it does not claim to be JSON.
            InvalidBody: it is not JSON, or not a `T`.
        """
        return decode_body(self.asgi_connection.scope, value, self.model_type)


def decode_body[T](scope: Scope, body: bytes, model: type[T]) -> T:
    """`body`, which came with the headers of `scope`, as the struct `model`.

    Raises:
        UnsupportedMediaType: it does not claim to be JSON.
        InvalidBody: it is not JSON, or not a `model`.
    """
    content_type = header(scope, b"content-type")
    if content_type != "application/json" and not is_json(content_type):
        raise UnsupportedMediaType
    return decode_strictly(body, model)


def is_json(content_type: str) -> bool:
    """Whether it is that of JSON in UTF-8."""
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    return media_type.strip().lower() == "application/json" and charset in ("", "utf-8", "utf8")


@cache
def _decoder(model: type) -> tuple[msgspec.json.Decoder[Any], tuple[str, ...], int]:
    """A decoder, the optional fields' names and the number of required ones."""
    fields = msgspec.structs.fields(model)
    optional = tuple(field.name for field in fields if not field.required)
    if any(field.default is not msgspec.UNSET for field in fields if not field.required):
        # With another default, an absent field would count as filled, and could hide a repeated key.
        raise TypeError(f"{model.__name__}: a field of a body is required, or UNSET when absent")
    return msgspec.json.Decoder(model), optional, len(fields) - len(optional)


def decode_strictly[T](body: bytes, model: type[T]) -> T:
    """`body` as the struct `model`.

    Raises:
        InvalidBody: with every error that can be told, at most 50.
    """
    decoder, optional, required = _decoder(model)  # type: ignore[arg-type]  # mypy takes no type[T] for hashable
    try:
        decoded: T = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(body, model)
    # msgspec keeps the last of two equal keys. A flat object has one colon per key; when there are as many
    # colons as fields were filled, no key came twice (a colon inside a string only sends us the slow way).
    filled = required + sum(getattr(decoded, name) is not msgspec.UNSET for name in optional)
    return decoded if body.count(b":") == filled else _decode_slowly(body, model)


def decode_rows[T](rows: Sequence[bytes], model: type[T]) -> list[T] | None:
    """Each of `rows` as `decode_strictly` gives it, in half the time; None if it would refuse any, or might."""
    decoder, optional, required = _decoder(model)  # type: ignore[arg-type]
    try:
        decoded: list[T] = list(map(decoder.decode, rows))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    filled = required * len(rows) + sum(
        [getattr(row, name) is not msgspec.UNSET for name in optional for row in decoded]
    )
    return decoded if sum([row.count(b":") for row in rows]) == filled else None


class JSONObject(dict[str, object]):
    """A JSON object that remembers which keys came twice."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]


def load_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON can say
    """The JSON `body`, whose objects remember repeated keys, and whose numbers are those that `json_number` takes.

    NaN and Infinity, which JSON does not have, become an object that no field accepts.

    Raises:
        InvalidBody: it is not JSON.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=JSONObject,
            parse_constant=lambda _: object(),
            parse_float=json_number,
        )
    except (ValueError, RecursionError):
        raise InvalidBody([FieldError("", "malformed", MALFORMED)]) from None


def _decode_slowly[T](body: bytes, model: type[T]) -> T:
    """`body` as the struct `model`, or everything that is wrong with it."""
    root = load_json(body)
    if not isinstance(root, JSONObject):
        raise InvalidBody([FieldError("", "invalid", _NOT_AN_OBJECT)])
    errors = [FieldError(pointer_to(key), "duplicate", DUPLICATE) for key in root.repeated]
    errors += field_errors(root, model)
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])
    try:
        return msgspec.convert(root, model)
    except (msgspec.ValidationError, RecursionError):
        raise InvalidBody([FieldError("", "malformed", MALFORMED)]) from None


def json_number(text: str) -> object:
    """A number as JSON Schema sees it, for which 18.0 is an integer: msgspec takes it for a float."""
    number = float(text)
    if number.is_integer():
        return int(number)
    return number if isfinite(number) else object()


def field_errors(root: dict[str, object], model: type) -> list[FieldError]:
    """What is wrong with each field of `root`, which should be those of the struct `model`."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    expected = expectations(model)
    errors = []
    for name, field in fields.items():
        if name not in root:
            if field.required:
                errors.append(FieldError(pointer_to(name), "missing", MISSING))
            continue
        try:
            msgspec.convert(root[name], field.type)
            # JSON can spell half of a surrogate pair, which is no text: nothing could store or send it.
            msgspec.json.encode(root[name])
        except (msgspec.ValidationError, RecursionError, UnicodeEncodeError):
            errors.append(FieldError(pointer_to(name), "invalid", expected[name]))
    for name in itertools.islice(root.keys() - fields.keys(), MOST_ERRORS):
        suggestion = closest(name, tuple(fields))
        errors.append(FieldError(pointer_to(name), "unknown", UNKNOWN, suggestion))
    return errors


def closest(name: str, fields: tuple[str, ...]) -> str | None:
    """The one of `fields` that `name` resembles most."""
    return _closest(name[:_LONGEST_NAME].lower(), fields)


# Remembered, because many rows have the same mistake, and one look takes a tenth of a millisecond.
@lru_cache(maxsize=256)
def _closest(name: str, fields: tuple[str, ...]) -> str | None:
    close = get_close_matches(name, fields, n=1)
    return close[0] if close else None


def pointer_to(name: str) -> str:
    """RFC 6901, with a name that is too long or not encodable made harmless."""
    harmless = name[:_LONGEST_NAME].encode("utf-8", "replace").decode()
    return "/" + harmless.replace("~", "~0").replace("/", "~1")


MALFORMED: Final[Text] = {
    Language.FR: "N'est pas du JSON valide (RFC 8259, UTF-8).",
    Language.EN: "Is not valid JSON (RFC 8259, UTF-8).",
}
_NOT_AN_OBJECT: Final[Text] = {
    Language.FR: "Doit être un objet JSON.",
    Language.EN: "Must be a JSON object.",
}
UNKNOWN: Final[Text] = {Language.FR: "Champ inconnu.", Language.EN: "There is no such field."}
DUPLICATE: Final[Text] = {
    Language.FR: "Champ présent plusieurs fois.",
    Language.EN: "This field is present more than once.",
}
