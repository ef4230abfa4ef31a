"""The forms in which a client may send many employees, and gets its answer: JSON, NDJSON."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from itertools import batched
from typing import Final, Protocol

import msgspec

from churn.domain.employee import Employee
from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.http.json_body import MALFORMED, FieldError, InvalidBody, decode_rows, decode_strictly, is_json
from churn.http.predictions import PredictionAnswer
from churn.http.problems import ProblemError
from churn.use_cases.turns import Turns

#: Rows read or written in one turn of the event loop, so that it takes about a millisecond.
SLICE: Final = 256
#: Rows read in one turn when one of them is at fault: to say why takes up to a millisecond each.
_FAULTY_SLICE: Final = 8
#: Bytes of one row: twenty times what an employee takes.
_LONGEST_ROW: Final = 16 << 10

_TOO_LONG: Final[Text] = {
    Language.FR: f"Ligne de plus de {_LONGEST_ROW} octets.",
    Language.EN: f"A row of more than {_LONGEST_ROW} bytes.",
}

_NOT_A_LIST: Final[Text] = {
    Language.FR: "Le corps doit être une liste JSON d'objets.",
    Language.EN: "The body must be a JSON list of objects.",
}


class RejectedRow(msgspec.Struct, frozen=True):
    """Une ligne qui n'a pas été évaluée, et pourquoi ; les autres l'ont été."""

    row: int
    """Rang de la ligne, à partir de 0."""
    errors: tuple[ProblemError, ...]
    """Chaque `pointer` (RFC 6901) part de la ligne."""


type Row = Employee | InvalidBody
type RowAnswer = PredictionAnswer | RejectedRow


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

    def encode(self, blocks: AsyncIterable[Sequence[RowAnswer]]) -> AsyncIterator[bytes]:
        """The answer to all rows, as soon as they have come."""
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

    async def encode(self, blocks: AsyncIterable[Sequence[RowAnswer]]) -> AsyncIterator[bytes]:
        """See the protocol."""
        async for block in blocks:
            yield msgspec.json.Encoder().encode_lines(block)


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

    async def encode(self, blocks: AsyncIterable[Sequence[RowAnswer]]) -> AsyncIterator[bytes]:
        """See the protocol."""
        before = b"["
        async for block in blocks:
            yield before + msgspec.json.encode(block)[1:-1]
            before = b","
        yield b"]" if before == b"," else b"[]"


FORMS: Final[Sequence[Form[bytes]]] = (JSONList(), NDJSON())


def form_of(content_type: str) -> Form[bytes] | None:
    """The form that `content_type` names."""
    for form in FORMS:
        if is_json(content_type.lower().replace(form.media_type, "application/json", 1)):
            return form
    return None
