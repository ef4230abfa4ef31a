"""The history in the formats that it can be taken away in."""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from litestar.datastructures.headers import Accept
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Schema
from litestar.response import Stream

from churn.domain.employee import FEATURES, Employee
from churn.domain.language import Language
from churn.domain.prediction import Prediction
from churn.http.answers import answer_to, remembered
from churn.http.csv_answer import TITLES, cells_of, write_csv
from churn.http.operation import TrueOperation
from churn.use_cases.turns import Turns

_EMPLOYEE: Final = (*FEATURES, "employee_ref")
_TITLES: Final = ("created_at", "account", "run_id", *_EMPLOYEE, *TITLES)


class Format(StrEnum):
    """How the history is written down."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


_MEDIA_TYPES: Final = {
    "application/json": Format.JSON,
    "application/x-ndjson": Format.NDJSON,
    "text/csv": Format.CSV,
}


def accepted_format(accept: str) -> Format:
    """The format that the header `Accept` prefers; JSON when it names none of ours."""
    try:
        best = Accept(accept).best_match(list(_MEDIA_TYPES), "application/json")
    except (ValueError, OverflowError):  # a quality that is no number
        return Format.JSON
    return _MEDIA_TYPES[best]


class ExportOperation(TrueOperation):
    """An operation that answers with a page, or with everything in another format."""

    def __post_init__(self) -> None:
        super().__post_init__()
        success = (self.responses or {})["200"]
        if isinstance(success, OpenAPIResponse) and success.content:
            for media_type, description in (
                ("application/x-ndjson", "Un objet JSON `RememberedPrediction` par ligne."),
                ("text/csv", f"Une ligne de titres (`{','.join(_TITLES)}`), puis une ligne par prédiction."),
            ):
                schema = Schema(type=OpenAPIType.STRING, description=description)
                success.content[media_type] = OpenAPIMediaType(schema=schema)


async def export(
    blocks: AsyncIterator[Sequence[Prediction]], wanted: Format, language: Language, turns: Turns
) -> Stream:
    """Everything of `blocks`, sent as it comes.

    The first block is read here, so that a database that does not answer is a 503. One that fails later cuts the
    answer off before its end, which a client notices: nothing is left out of an answer that is whole.
    """
    first = await anext(blocks, None)
    encode, media_type = _FORMATS[wanted]

    async def content() -> AsyncIterator[bytes]:
        if wanted is Format.CSV:
            yield write_csv([_TITLES])
        if first is not None:
            async with turns:
                chunk = encode(first, language)
            yield chunk
        async for block in blocks:
            async with turns:
                chunk = encode(block, language)
            yield chunk

    disposition = f'attachment; filename="predictions.{wanted}"'
    return Stream(content(), media_type=media_type, headers={"content-disposition": disposition, "vary": "Accept"})


def _ndjson(block: Sequence[Prediction], language: Language) -> bytes:
    return msgspec.json.Encoder().encode_lines([remembered(prediction, language) for prediction in block])


def _csv(block: Sequence[Prediction], language: Language) -> bytes:
    return write_csv(
        [
            (
                prediction.created_at.isoformat(),
                prediction.account,
                prediction.run_id,
                *_cells(prediction.employee),
                *cells_of(answer_to(prediction, language)),
            )
            for prediction in block
        ]
    )


def _cells(employee: Employee) -> list[object]:
    values = msgspec.to_builtins(employee)
    return [values.get(name) for name in _EMPLOYEE]


_FORMATS: Final[dict[Format, tuple[Callable[[Sequence[Prediction], Language], bytes], str]]] = {
    Format.NDJSON: (_ndjson, "application/x-ndjson"),
    Format.CSV: (_csv, "text/csv"),
}
