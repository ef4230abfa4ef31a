"""The forms in which a client may send many employees, and gets its answer: JSON, NDJSON and CSV."""

import csv
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import batched
from typing import Any, Final, Protocol

import msgspec

from churn.domain.employee import Employee
from churn.domain.expectation import Text, schemas
from churn.domain.language import Language
from churn.domain.predictions import Predictions
from churn.http.answers import answer_to
from churn.http.csv_answer import TITLES, cells_of, write_csv
from churn.http.json_answers import json_answers
from churn.http.json_body import (
    MALFORMED,
    FieldError,
    InvalidBody,
    decode_rows,
    decode_strictly,
    field_errors,
    is_json,
    json_number,
)
from churn.http.rows import CELLS, NOT_CSV, open_csv
from churn.use_cases.turns import Turns
from churn.wire import ProblemError, RejectedRow

#: Rows read or written in one turn of the event loop, so that it takes a millisecond or two.
SLICE: Final = 256
#: Rows read in one turn when one of them is at fault: to say why takes up to a millisecond each.
_FAULTY_SLICE: Final = 8
#: Bytes of one row: twenty times what an employee takes.
_LONGEST_ROW: Final = 16 << 10

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?")
_TOO_LONG: Final[Text] = {
    Language.FR: f"Ligne de plus de {_LONGEST_ROW} octets.",
    Language.EN: f"A row of more than {_LONGEST_ROW} bytes.",
}

_NOT_A_LIST: Final[Text] = {
    Language.FR: "Le corps doit être une liste JSON d'objets.",
    Language.EN: "The body must be a JSON list of objects.",
}


type Row = Employee | InvalidBody


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows that follow one another, and what is answered."""

    start: int
    """Number of the first, from 0."""
    predictions: Predictions
    """Of those that are employees, in order."""
    rejected: Sequence[RejectedRow]
    """The others, in order."""
    language: Language

    def with_rejected[Item](self, answers: list[Item], reject: Callable[[RejectedRow], Item]) -> list[Item]:
        """`answers` to the predictions, with what `reject` makes of the other rows in their places."""
        for row in self.rejected:
            answers.insert(row.row - self.start, reject(row))
        return answers


class Form[Raw](Protocol):
    """One way to write rows down. A `Raw` is a row that has not been looked into yet."""

    media_type: str

    def split(self, body: AsyncIterable[bytes]) -> AsyncIterator[Sequence[Raw]]:
        """The rows of `body`, as soon as they have come.

        Raises:
            InvalidBody: it is not of this form at all.
        """
        ...

    def decode(self, rows: Sequence[Raw]) -> list[Employee] | None:
        """All of `rows`, quickly; None if any is not an employee, or may not be."""
        ...

    def decode_one(self, row: Raw) -> Employee:
        """One row.

        Raises:
            InvalidBody: with everything that is wrong with it.
        """
        ...

    def encode(self, blocks: Iterable[Answered]) -> Iterator[bytes]:
        """The answer to all rows, piece by piece."""
        ...


async def read_rows[Raw](form: Form[Raw], body: AsyncIterable[bytes], turns: Turns) -> AsyncIterator[list[Row]]:
    """The rows of `body`, each an employee or what is wrong with it."""
    async for raw in form.split(body):
        for some in batched(raw, SLICE, strict=False):
            async with turns:
                employees = form.decode(some)
            if employees is not None:
                yield list[Row](employees)
                continue
            for few in batched(some, _FAULTY_SLICE, strict=False):
                async with turns:
                    rows = [_decode_one(form, row) for row in few]
                yield rows


def _decode_one[Raw](form: Form[Raw], row: Raw) -> Row:
    try:
        return form.decode_one(row)
    except InvalidBody as error:
        return error


class _JSONRows:
    """What JSON and NDJSON have in common: a row is a JSON object."""

    def decode(self, rows: Sequence[bytes]) -> list[Employee] | None:
        return decode_rows(rows, Employee) if max(map(len, rows)) <= _LONGEST_ROW else None

    def decode_one(self, row: bytes) -> Employee:
        if len(row) > _LONGEST_ROW:
            raise InvalidBody([FieldError("", "too-long", _TOO_LONG)])
        return decode_strictly(row, Employee)


class NDJSON(_JSONRows):
    """A JSON object a line; empty lines are passed over."""

    media_type = "application/x-ndjson"

    async def split(self, body: AsyncIterable[bytes]) -> AsyncIterator[Sequence[bytes]]:
        """See the protocol."""
        begun: list[bytes] = []
        async for chunk in body:
            first, *others = chunk.split(b"\n")
            begun.append(first)
            if others:
                lines = [b"".join(begun), *others[:-1]]
                begun = [others[-1]]
                if complete := [line for line in lines if line and not line.isspace()]:
                    yield complete
        last = b"".join(begun)
        if last and not last.isspace():
            yield [last]

    def encode(self, blocks: Iterable[Answered]) -> Iterator[bytes]:
        """See the protocol."""
        for block in blocks:
            yield b"\n".join([*_objects(block), b""])


class JSONList(_JSONRows):
    """A JSON list of objects."""

    media_type = "application/json"
    _items: Final = msgspec.json.Decoder(list[msgspec.Raw])

    async def split(self, body: AsyncIterable[bytes]) -> AsyncIterator[Sequence[bytes]]:
        """See the protocol."""
        whole = b"".join([chunk async for chunk in body])
        try:
            items = self._items.decode(whole)
        except msgspec.ValidationError:
            raise InvalidBody([FieldError("", "invalid", _NOT_A_LIST)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidBody([FieldError("", "malformed", MALFORMED)]) from None
        for some in batched(items, SLICE, strict=False):
            yield [bytes(item) for item in some]

    def encode(self, blocks: Iterable[Answered]) -> Iterator[bytes]:
        """See the protocol."""
        before = b"["
        for block in blocks:
            yield before + b",".join(_objects(block))
            before = b","
        yield b"]" if before == b"," else b"[]"


class CSV:
    """A line of titles, then an employee a line; cells are separated by commas or semicolons."""

    media_type = "text/csv"

    def __init__(self) -> None:
        self._delimiter = ","

    async def split(self, body: AsyncIterable[bytes]) -> AsyncIterator[Sequence[dict[str, object] | InvalidBody]]:
        """See the protocol."""
        whole = b"".join([chunk async for chunk in body])
        titles, lines, self._delimiter = open_csv(whole, Employee)
        numeric = [schemas(Employee)[title].get("type") in {"integer", "number"} for title in titles]
        decimal_comma = self._delimiter == ";"

        def row(line: list[str]) -> dict[str, object] | InvalidBody:
            if len(line) != len(titles):
                return InvalidBody([FieldError("", "invalid", CELLS)])
            return {
                title: _number(cell, decimal_comma=decimal_comma) if is_numeric else cell.strip()
                for title, cell, is_numeric in zip(titles, line, numeric, strict=True)
                if cell and not cell.isspace()
            }

        for some in batched(_lines(lines), SLICE, strict=False):
            yield [InvalidBody([FieldError("", "malformed", NOT_CSV)]) if line is None else row(line) for line in some]

    def decode(self, rows: Sequence[dict[str, object] | InvalidBody]) -> list[Employee] | None:
        """See the protocol."""
        try:
            return msgspec.convert(rows, list[Employee])
        except msgspec.ValidationError:
            return None

    def decode_one(self, row: dict[str, object] | InvalidBody) -> Employee:
        """See the protocol."""
        if isinstance(row, InvalidBody):
            raise row
        if errors := field_errors(row, Employee):
            raise InvalidBody(errors)
        return msgspec.convert(row, Employee)

    def encode(self, blocks: Iterable[Answered]) -> Iterator[bytes]:
        """See the protocol."""
        yield write_csv([("row", *TITLES, "errors")], self._delimiter)
        for block in blocks:
            answers = [cells_of(answer_to(prediction, block.language)) for prediction in block.predictions]
            cells = block.with_rejected(
                [(*answer, None) for answer in answers], lambda row: (*[None] * len(TITLES), _in_a_cell(row.errors))
            )
            yield write_csv([(number, *line) for number, line in enumerate(cells, block.start)], self._delimiter)


def _objects(block: Answered) -> list[bytes]:
    return block.with_rejected(json_answers(block.predictions, block.language), msgspec.json.encode)


def _lines(lines: Iterator[list[str]]) -> Iterator[list[str] | None]:
    """The lines that are not empty; None for one that is no CSV."""
    while True:
        try:
            line = next(lines, None)
        except csv.Error:
            yield None
            continue
        if line is None:
            return
        if line:
            yield line


@lru_cache(maxsize=4096)
def _number(cell: str, *, decimal_comma: bool) -> object:
    """What JSON would make of `cell`; text, which no number field accepts, when it is no number."""
    text = cell.strip()
    if decimal_comma:
        text = text.replace(",", ".")
    return json_number(text) if _NUMBER.fullmatch(text) else text


def _in_a_cell(errors: Sequence[ProblemError]) -> str:
    return " ".join(f"{error.pointer}: {error.detail}" if error.pointer else error.detail for error in errors)


FORMS: Final[tuple[type[Form[Any]], ...]] = (JSONList, NDJSON, CSV)


def form_of(content_type: str) -> Form[Any] | None:
    """The form that `content_type` names."""
    for form in FORMS:
        if is_json(content_type.lower().replace(form.media_type, "application/json", 1)):
            return form()
    return None
