"""`POST /predict` and the history of what it answered."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import MINYEAR, UTC, datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import UNSET, UnsetType

from churn.domain.account import USERNAME_PATTERN
from churn.domain.employee import DEMONSTRATION, EMPLOYEE_REF_PATTERN, Employee
from churn.domain.errors import HistoryQueueFull
from churn.domain.prediction import HistoryFilter
from churn.http.answers import answer_to, remembered
from churn.http.authentication import BasicAuthentication
from churn.http.connection import ChurnRequest, JSONAnswer, answer_response
from churn.http.export import ExportOperation, Format, accepted_format, export
from churn.http.headers import header
from churn.http.idempotency import OnceOperation, has_key, once
from churn.http.json_body import StrictJSON, decode_body
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.problems import problem_answer, problem_responses
from churn.http.query import each_parameter_once, null_parameters
from churn.ports import HistoryRepository
from churn.use_cases.answer_once import AnswerOnce
from churn.use_cases.export_history import ExportHistory
from churn.use_cases.predict_attrition import PredictAttrition
from churn.use_cases.predict_workforce import PredictWorkforce
from churn.use_cases.read_prediction import ReadPrediction
from churn.use_cases.turns import Turns
from churn.wire import FollowedPrediction, PredictionAnswer, PredictionPage

_TAGS: Final = ["Prédictions"]
_SECURITY: Final[list[dict[str, list[str]]]] = [{"basic": []}]
_DATE: Final = re.compile("[0-9]{4}-")
#: The ends of the calendar.
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NAME: Final = r"^[A-Za-z0-9._-]{1,64}$"
#: The employee of the README, on the wire.
EXAMPLE: Final[dict[str, Any]] = msgspec.to_builtins(DEMONSTRATION)


def predict_with(
    authentication: BasicAuthentication,
    history: HistoryRepository,
    predict_attrition: PredictAttrition,
    predict_workforce: PredictWorkforce,
    answer_once: AnswerOnce,
) -> HTTPRouteHandler:
    """The route `POST /predict`.

    Nearly every request has no key, and those are answered by a middleware: what Litestar does to call a handler takes
    longer than the prediction. One that could not be stored is refused before anything else is done for it, because a
    crowd that is refused keeps the others waiting for as long as that takes.
    """

    def without_key(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if has_key(scope):
                await app(scope, receive, send)
                return
            request = ChurnRequest(scope, receive, send)
            try:
                history.admit()
            except HistoryQueueFull as error:
                await problem_answer(request, error)(scope, receive, send)
                return
            await authentication(request)
            employee = decode_body(scope, await request.body(), Employee)
            prediction = await predict_attrition(employee, account=request.user.username)
            await JSONAnswer(answer_to(prediction, language_of(request)))(scope, receive, send)

        return answer

    @post(
        "/predict",
        middleware=[without_key],
        tags=_TAGS,
        security=_SECURITY,
        dto=StrictJSON[Employee],
        return_dto=None,
        status_code=200,
        summary="Prédire le départ d'un employé",
        description=(
            "Enregistre la prédiction avant de répondre : une réponse 200 survit à une panne. "
            "Une valeur hors de la plage d'apprentissage est évaluée à son bord et nommée dans `warnings`."
        ),
        responses=answer_response(PredictionAnswer, "La prédiction, enregistrée")
        | problem_responses(401, 409, 413, 415, 422, 429, 503),
        operation_class=OnceOperation,
    )
    async def predict(
        data: Annotated[Employee, BodyKwarg(examples=[Example(summary="Risque élevé", value=EXAMPLE)])],
        request: ChurnRequest,
    ) -> JSONAnswer:
        """One employee in, one prediction out; once under a key."""

        async def answer() -> PredictionAnswer:
            # In one transaction with the key, which the group commit of many accounts is not.
            (prediction,) = await predict_workforce(_one(data), account=request.user.username)
            return answer_to(prediction, language_of(request))

        return await once(request, answer_once, answer)

    return predict


async def _one(employee: Employee) -> AsyncIterator[Sequence[Employee]]:
    yield [employee]


class PredictionController(Controller):
    """Look back."""

    tags = _TAGS
    security = _SECURITY

    @get(
        "/predictions",
        guards=[each_parameter_once],
        summary="Parcourir l'historique",
        description=(
            "Chaque critère donné doit être vrai. Les dates sans fuseau sont en UTC. En CSV ou en NDJSON (`format`, ou "
            "l'en-tête `Accept`), la réponse est tout ce qui remplit les critères et non une page, envoyé au fil de la "
            "lecture ; si la base vient à manquer, l'envoi est coupé avant sa fin. En CSV, un texte qu'un tableur "
            "prendrait pour un calcul est précédé d'une apostrophe."
        ),
        responses=problem_responses(401, 422, 429, 503),
        response_description="Une page de l'historique, ou tout",
        operation_class=ExportOperation,
    )
    async def find(  # noqa: PLR0917
        self,
        request: ChurnRequest,
        history: NamedDependency[HistoryRepository],
        export_history: NamedDependency[ExportHistory],
        turns: NamedDependency[Turns],
        since: Annotated[datetime | None, QueryParameter(description="À partir de ce moment.")] = None,
        until: Annotated[datetime | None, QueryParameter(description="Avant ce moment.")] = None,
        model_version: Annotated[str | None, QueryParameter(pattern=_NAME, description="Version du modèle.")] = None,
        # Litestar leaves a bound of 0 out of the document unless it is told twice.
        prediction: Annotated[
            int | None, QueryParameter(ge=0, le=1, schema_extra={"minimum": 0}, description="1 : départ probable.")
        ] = None,
        employee_ref: Annotated[
            str | None, QueryParameter(pattern=EMPLOYEE_REF_PATTERN, description="Pseudonyme de l'employé.")
        ] = None,
        account: Annotated[
            str | None, QueryParameter(pattern=USERNAME_PATTERN, description="Compte qui a demandé.")
        ] = None,
        run_id: Annotated[UUID | None, QueryParameter(description="Lot de `churn score --save`.")] = None,
        cursor: Annotated[
            UUID | None, QueryParameter(description="`next_cursor` de la page précédente, ou le dernier `id` reçu.")
        ] = None,
        limit: Annotated[
            int, QueryParameter(ge=1, le=1000, description="Taille de la page ; sans effet en CSV et en NDJSON.")
        ] = 100,
        format: Annotated[  # noqa: A002 - its name on the wire
            Format | None, QueryParameter(description="Va avant l'en-tête `Accept`.")
        ] = None,
    ) -> Response[PredictionPage]:
        """The history, newest first."""
        null = null_parameters(request)
        # Litestar takes a number for a moment.
        undated = {name for name in ("since", "until") if not _DATE.match(request.query_params.get(name, "0000-"))}
        if wrong := undated | null & {"prediction", "run_id", "cursor", "limit", "format"}:
            raise ValidationException(extra=[{"key": name} for name in sorted(wrong)])

        def word(name: str, value: str | None) -> str | UnsetType:
            return value or ("null" if name in null else UNSET)

        criteria = HistoryFilter(
            since=_moment(since),
            until=_moment(until),
            model_version=word("model_version", model_version),
            leaves=UNSET if prediction is None else prediction == 1,
            employee_ref=word("employee_ref", employee_ref),
            account=word("account", account),
            run_id=UNSET if run_id is None else run_id,
        )
        language = language_of(request)
        wanted = format or accepted_format(header(request.scope, b"accept"))
        if wanted is not Format.JSON:
            blocks = await export_history(criteria, before=cursor, account=request.user.username)
            everything = await export(blocks, wanted, language, turns)
            return cast("Response[PredictionPage]", everything)
        # One more than asked for tells whether there is a next page.
        found = await history.find(criteria, before=cursor, limit=limit + 1)
        items = tuple(remembered(item, language) for item in found[:limit])
        page = PredictionPage(items, next_cursor=items[-1].id if len(found) > limit else None)
        return Response(page, headers={"vary": "Accept"})

    @get(
        "/predictions/{prediction_id:uuid}",
        summary="Relire une prédiction",
        responses=problem_responses(401, 404, 429, 503),
        response_description="La prédiction",
        operation_class=TrueOperation,
    )
    async def read(
        self,
        request: ChurnRequest,
        prediction_id: Annotated[UUID, PathParameter(description="`id` de la réponse.")],
        read_prediction: NamedDependency[ReadPrediction],
    ) -> FollowedPrediction:
        """One prediction, as it was answered, and what followed."""
        found = await read_prediction(prediction_id)
        return FollowedPrediction(
            **msgspec.structs.asdict(remembered(found.prediction, language_of(request))),
            outcomes=tuple(found.outcomes),
            reviews=tuple(found.reviews),
        )


def _moment(moment: datetime | None) -> datetime | UnsetType:
    if moment is None:
        return UNSET
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # its zone takes it beyond the calendar
        return _FIRST if moment.year == MINYEAR else _LAST
