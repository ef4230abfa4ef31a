"""Request bodies that are lists of rows, JSON or CSV: decoded strictly, or refused with every error at once."""

import csv
import io
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Final

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, RequestBody, Schema
from litestar.typing import FieldDefinition

from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.http.headers import header
from churn.http.idempotency import OnceOperation
from churn.http.json_body import (
    DUPLICATE,
    MALFORMED,
    MOST_ERRORS,
    FieldError,
    InvalidBody,
    JSONObject,
    StrictJSON,
    UnsupportedMediaType,
    field_errors,
    is_json,
    load_json,
    pointer_to,
)

#: Beyond this the answer, and everything else on the event loop, would wait too long.
MOST_ROWS: Final = 10_000

_NOT_A_LIST: Final[Text] = {
    Language.FR: "Le corps doit être une liste JSON d'objets.",
    Language.EN: "The body must be a JSON list of objects.",
}
_NOT_A_ROW: Final[Text] = {Language.FR: "Doit être un objet JSON.", Language.EN: "Must be a JSON object."}
NOT_CSV: Final[Text] = {
    Language.FR: "Le corps n'est pas du CSV (RFC 4180, UTF-8) avec une ligne de titres.",
    Language.EN: "The body is not CSV (RFC 4180, UTF-8) with a line of titles.",
}
CELLS: Final[Text] = {
    Language.FR: "Doit avoir autant de cellules que de titres.",
    Language.EN: "Must have as many cells as there are titles.",
}
_TOO_MANY: Final[Text] = {
    Language.FR: f"Au plus {MOST_ROWS} lignes à la fois.",
    Language.EN: f"At most {MOST_ROWS} rows at a time.",
}


class StrictRows[T](StrictJSON[T]):
    """Reads the body of a handler as `list[T]`: use as `dto=StrictRows[Report]`, with `CELLS` for CSV."""

    #: By column, what its cells mean, in lower case; every other cell means itself, and an empty one is absent.
    CELLS: ClassVar[Mapping[str, Mapping[str, object]]] = {}

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:  # noqa: ANN401 - as in the base class
        """The schema of a list of `T`, as long as it may be."""
        del handler_id
        schema = schema_creator.for_field_definition(field_definition)
        schema_creator.schema_registry.from_reference(schema.items).schema.additional_properties = False
        schema.max_items = MOST_ROWS
        return schema

    def decode_bytes(self, value: bytes) -> Any:  # noqa: ANN401 - a list of what the base class reads one of
        """The body as a list.

        Raises:
            UnsupportedMediaType: it claims to be neither JSON nor CSV.
            InvalidBody: it is neither, or some row is not a `T`.
        """
        content_type = header(self.asgi_connection.scope, b"content-type")
        if is_json(content_type):
            return decode_json_rows(value, self.model_type)
        if is_csv(content_type):
            return decode_csv_rows(value, self.model_type, self.CELLS)
        raise UnsupportedMediaType


class RowsOperation(OnceOperation):
    """An operation whose body may be CSV too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.request_body, RequestBody):
            self.request_body.content["text/csv"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def is_csv(content_type: str) -> bool:
    """Whether it is that of CSV in UTF-8."""
    return is_json(content_type.lower().replace("text/csv", "application/json", 1))


@cache
def _decoder(model: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[model])  # type: ignore[valid-type]


def decode_json_rows[T](body: bytes, model: type[T]) -> list[T]:
    """The JSON list `body` as structs `model`.

    Raises:
        InvalidBody: with every error that can be told, at most 50.
    """
    try:
        rows: list[T] = _decoder(model).decode(body)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _checked(_json_rows(body), model)
    # As in `decode_strictly`: with as many colons as filled fields, no key came twice.
    names = [field.name for field in msgspec.structs.fields(model)]  # type: ignore[arg-type]
    filled = sum(getattr(row, name) is not msgspec.UNSET for row in rows for name in names)
    if len(rows) > MOST_ROWS or body.count(b":") != filled:
        return _checked(_json_rows(body), model)
    return rows


def _json_rows(body: bytes) -> list[Any]:
    rows = load_json(body)
    if not isinstance(rows, list):
        raise InvalidBody([FieldError("", "invalid", _NOT_A_LIST)])
    return rows


def decode_csv_rows[T](body: bytes, model: type[T], cells: Mapping[str, Mapping[str, object]]) -> list[T]:
    """The CSV `body`, whose titles are the fields of the struct `model`; `cells` as in `StrictRows`.

    Raises:
        InvalidBody: with every error that can be told, at most 50. Rows are counted from 0, without the titles.
    """
    titles, lines, _ = open_csv(body, model)

    def meaning(title: str, cell: str) -> object:
        return cells[title].get(cell.lower(), cell) if title in cells else cell

    def row(line: list[str]) -> object:
        if len(line) != len(titles):
            return None
        pairs: list[tuple[str, object]] = [
            (title, meaning(title, cell.strip())) for title, cell in zip(titles, line, strict=True) if cell.strip()
        ]
        return JSONObject(pairs)

    try:
        rows = [row(line) for line in lines if line]
    except csv.Error:
        raise InvalidBody([FieldError("", "malformed", NOT_CSV)]) from None
    return _checked(rows, model, not_a_row=CELLS)


def open_csv(body: bytes, model: type) -> tuple[list[str], Iterator[list[str]], str]:
    """The titles of the CSV `body`, which are fields of the struct `model`; the lines below; what separates cells.

    That is a comma or a semicolon, whichever the line of titles has more of. The iterator raises `csv.Error` at a line
    that is no CSV.

    Raises:
        InvalidBody: it is not CSV at all, or a title is unknown, missing or repeated.
    """
    try:
        text = body.decode("utf-8-sig")
        delimiter = max(",;", key=text.partition("\n")[0].count)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        titles = [title.strip() for title in next(lines, [])]
    except (ValueError, csv.Error):
        raise InvalidBody([FieldError("", "malformed", NOT_CSV)]) from None
    if not titles:
        raise InvalidBody([FieldError("", "malformed", NOT_CSV)])
    row = JSONObject([(title, None) for title in titles])
    errors = [error for error in field_errors(row, model) if error.code in {"unknown", "missing"}]
    if errors := _repeated(row) + errors:
        raise InvalidBody(errors[:MOST_ERRORS])
    return titles, lines, delimiter


def _checked[T](rows: list[Any], model: type[T], *, not_a_row: Text = _NOT_A_ROW) -> list[T]:
    if len(rows) > MOST_ROWS:
        raise InvalidBody([FieldError("", "too-many", _TOO_MANY)])
    errors: list[FieldError] = []
    decoded: list[T] = []
    for position, row in enumerate(rows):
        found = _errors(row, model, not_a_row)
        try:
            decoded.append(msgspec.convert(row, model))
        except (msgspec.ValidationError, RecursionError):
            found = found or [FieldError("", "malformed", MALFORMED)]
        errors += [msgspec.structs.replace(error, pointer=f"/{position}{error.pointer}") for error in found]
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])
    return decoded


def _errors(row: object, model: type, not_a_row: Text) -> list[FieldError]:
    if not isinstance(row, JSONObject):
        return [FieldError("", "invalid", not_a_row)]
    return _repeated(row) + field_errors(row, model)


def _repeated(row: JSONObject) -> list[FieldError]:
    return [FieldError(pointer_to(key), "duplicate", DUPLICATE) for key in row.repeated]
