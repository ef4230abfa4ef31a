"""`POST /predict/batch`: many employees at once."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from typing import Any, Final, cast

from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Reference, RequestBody, Schema
from litestar.response import Stream

from churn.domain.answer import Answer
from churn.domain.employee import Employee
from churn.domain.language import Language
from churn.domain.predictions import Predictions
from churn.http.connection import ChurnRequest
from churn.http.csv_answer import TITLES
from churn.http.headers import header
from churn.http.idempotency import OnceOperation, answered_once, key_of
from churn.http.json_body import InvalidBody, TooLarge, UnsupportedMediaType
from churn.http.language import language_of
from churn.http.problems import in_words, problem_responses
from churn.http.row_forms import SLICE, Answered, Row, form_of, read_rows
from churn.settings import Settings
from churn.use_cases.answer_once import AnswerOnce
from churn.use_cases.predict_workforce import PredictWorkforce
from churn.use_cases.turns import Turns
from churn.wire import PredictionAnswer, RejectedRow

_TOO_MANY_ROWS: Final = {
    Language.FR: "Au plus {} lignes par requête (CHURN_BATCH_MAX_ROWS).",
    Language.EN: "At most {} rows per request (CHURN_BATCH_MAX_ROWS).",
}
_TOO_MANY_BYTES: Final = {
    Language.FR: "Au plus {} octets par requête (CHURN_BATCH_MAX_BODY_SIZE).",
    Language.EN: "At most {} bytes per request (CHURN_BATCH_MAX_BODY_SIZE).",
}


class BatchOperation(OnceOperation):
    """An operation whose body, which it reads itself, and whose answer may each be of several forms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        employee = Reference(ref="#/components/schemas/Employee")
        bodies = {
            "application/json": Schema(type=OpenAPIType.ARRAY, items=employee),
            "application/x-ndjson": _text("Un objet JSON `Employee` par ligne."),
            "text/csv": _text(
                "Une ligne de titres, les champs d'`Employee`, puis un employé par ligne ; cellules séparées par des "
                "virgules, ou par des points-virgules et alors les nombres peuvent avoir une virgule décimale."
            ),
        }
        answers = {
            "application/x-ndjson": _text("Un objet JSON `PredictionAnswer` ou `RejectedRow` par ligne."),
            "text/csv": _text(
                f"Une ligne de titres (`row,{','.join(TITLES)},errors`), puis une ligne par employé. Un texte qu'un "
                "tableur prendrait pour un calcul est précédé d'une apostrophe."
            ),
        }
        self.request_body = RequestBody(
            required=True, content={name: OpenAPIMediaType(schema=schema) for name, schema in bodies.items()}
        )
        success = (self.responses or {})["200"]
        if isinstance(success, OpenAPIResponse) and success.content:
            success.content |= {name: OpenAPIMediaType(schema=schema) for name, schema in answers.items()}


def _text(description: str) -> Schema:
    return Schema(type=OpenAPIType.STRING, description=description)


class BatchController(Controller):
    """Predict many."""

    tags = ["Prédictions"]
    security = [{"basic": []}]

    @post(
        "/predict/batch",
        status_code=200,
        summary="Prédire le départ de nombreux employés",
        description=(
            "Une liste JSON, du NDJSON ou du CSV ; la réponse a la même forme et le même ordre. Une ligne refusée "
            "n'en empêche aucune autre : à sa place, la réponse dit pourquoi (`RejectedRow`). Les lignes évaluées le "
            "sont par une même version du modèle et enregistrées en une seule transaction, avant le premier octet de "
            "la réponse : une réponse 200 dit que toutes sont enregistrées, tout autre statut qu'aucune ne l'est, sauf "
            "503, qui ne le garantit pas. Le corps est lu au fil de l'eau."
        ),
        responses=problem_responses(401, 409, 413, 415, 422, 429, 503),
        response_description="Une réponse par ligne, dans l'ordre",
        operation_class=BatchOperation,
        request_max_body_size=None,
    )
    async def predict_batch(
        self,
        request: ChurnRequest,
        predict_workforce: NamedDependency[PredictWorkforce],
        settings: NamedDependency[Settings],
        turns: NamedDependency[Turns],
        answer_once: NamedDependency[AnswerOnce],
    ) -> Response[list[PredictionAnswer | RejectedRow]]:
        """Many employees in, as many answers out."""
        form = form_of(header(request.scope, b"content-type"))
        if form is None:
            raise UnsupportedMediaType
        batch = _Batch(language_of(request), most_rows=settings.batch_max_rows)

        async def answer(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
            predictions = await predict_workforce(
                batch.employees(read_rows(form, body, turns)), account=request.user.username
            )
            return _in_turns(form.encode(batch.answers(predictions)), turns)

        body = _limited(request, settings.batch_max_body_size)
        key = key_of(request.scope)
        response: Response[Any]
        if key is None:
            response = Stream(await answer(body), media_type=form.media_type)
        else:
            # Which request it is can be told only at its end, and its answer is kept whole.
            whole = await _joined(body)

            async def kept() -> Answer:
                return Answer(form.media_type, await _joined(await answer(_piece(whole))))

            response = await answered_once(request, answer_once, key, whole, kept)
        return cast("Response[list[PredictionAnswer | RejectedRow]]", response)


class _Batch:
    """One request's rows: which are employees, and what is wrong with the others."""

    def __init__(self, language: Language, *, most_rows: int) -> None:
        self._language = language
        self._most_rows = most_rows
        self._rows = 0
        self._rejected: dict[int, RejectedRow] = {}

    async def employees(self, blocks: AsyncIterable[Sequence[Row]]) -> AsyncIterator[Sequence[Employee]]:
        """Those of `blocks`.

        Raises:
            TooLarge: there are too many rows, counting those that are no employee.
        """
        async for block in blocks:
            if self._rows + len(block) > self._most_rows:
                raise too_many_rows(self._most_rows)
            for number, row in enumerate(block, self._rows):
                if isinstance(row, InvalidBody):
                    self._rejected[number] = RejectedRow(number, in_words(row.errors, self._language))
            self._rows += len(block)
            yield [row for row in block if isinstance(row, Employee)]

    def answers(self, predictions: Predictions) -> Iterator[Answered]:
        """The answer to each row, in order, `predictions` being those of the employees."""
        done = 0
        for start in range(0, self._rows, SLICE):
            end = min(start + SLICE, self._rows)
            rejected = [row for number in range(start, end) if (row := self._rejected.get(number))]
            made = end - start - len(rejected)
            yield Answered(
                start=start,
                predictions=predictions[done : done + made],
                rejected=rejected,
                language=self._language,
            )
            done += made


async def _in_turns(pieces: Iterator[bytes], turns: Turns) -> AsyncIterator[bytes]:
    while True:
        async with turns:
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


async def _joined(pieces: AsyncIterable[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _piece(whole: bytes) -> AsyncIterator[bytes]:
    yield whole


def too_many_rows(most: int) -> TooLarge:
    """What to say of more employees than `most` in one request."""
    return TooLarge("too-many-rows", {language: text.format(most) for language, text in _TOO_MANY_ROWS.items()})


async def _limited(request: ChurnRequest, most_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            detail = {language: text.format(most_bytes) for language, text in _TOO_MANY_BYTES.items()}
            raise TooLarge("too-many-bytes", detail)
        yield chunk
