"""`POST /predict` and the history of what it answered."""

import re
from datetime import MINYEAR, UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from churn.domain.account import USERNAME_PATTERN
from churn.domain.employee import DEMONSTRATION, EMPLOYEE_REF_PATTERN, FEATURES, Employee
from churn.domain.explanation import NEGLIGIBLE, sentence
from churn.domain.language import Language
from churn.domain.outcome import Outcome
from churn.domain.prediction import RISK_MESSAGES, HistoryFilter, Prediction, Risk
from churn.domain.review import Review
from churn.http.connection import ChurnRequest, JSONAnswer
from churn.http.json_body import StrictJSON
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.ports import HistoryRepository
from churn.use_cases.predict_attrition import PredictAttrition
from churn.use_cases.read_prediction import ReadPrediction

_TAGS: Final = ["Prédictions"]
_SECURITY: Final[list[dict[str, list[str]]]] = [{"basic": []}]
_INDICES: Final = range(len(FEATURES))
_OVERTIME: Final = FEATURES.index("heures_supp")
_DATE: Final = re.compile("[0-9]{4}-")
#: The ends of the calendar.
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NAME: Final = r"^[A-Za-z0-9._-]{1,64}$"
_WARNINGS: Final = {
    Language.FR: "Hors de la plage d'apprentissage : évalué à son bord.",
    Language.EN: "Outside the training range: scored at its edge.",
}
#: The employee of the README, on the wire.
EXAMPLE: Final[dict[str, Any]] = msgspec.to_builtins(DEMONSTRATION)


#: By language and feature: the sentence for a neutral factor, for one that raises the risk, and last for one that
#: lowers it, so that a direction of 0, 1 or -1 is its index.
_SENTENCES: Final = {
    language: tuple(
        tuple(sentence(feature, direction, language) for direction in (0.0, 1.0, -1.0)) for feature in FEATURES
    )
    for language in Language
}


class Contribution(msgspec.Struct, frozen=True):
    """Ce qu'une variable ajoute au risque, en log-cotes."""

    feature: str
    value: float | str
    log_odds: float
    sentence: Annotated[str, Meta(description="La même chose en mots, en français ou en anglais (Accept-Language).")]


class Caution(msgspec.Struct, frozen=True):
    """Ce qui rend la prédiction moins sûre."""

    field: str
    code: str
    detail: str


class PredictionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Une prédiction : une aide à la décision, jamais une décision."""

    prediction: Annotated[int, Meta(ge=0, le=1, description="1 : départ probable ; 0 : non.")]
    probability: Annotated[float, Meta(ge=0, le=1, description="Probabilité de départ.")]
    message: Annotated[str, Meta(description="Le risque en mots, en français ou en anglais (Accept-Language).")]
    id: UUID
    threshold: Annotated[float, Meta(description="Probabilité à partir de laquelle `prediction` vaut 1.")]
    risk: Risk
    model_version: str
    intercept: Annotated[
        float | None, Meta(description="Log-cotes de départ : avec les contributions, leur somme est le logit.")
    ]
    contributions: Annotated[
        tuple[Contribution, ...] | None,
        Meta(description="De la plus forte à la plus faible ; null si le modèle ne s'explique pas."),
    ]
    warnings: tuple[Caution, ...]


class RememberedPrediction(PredictionAnswer, frozen=True, kw_only=True):
    """Une prédiction de l'historique : la réponse, qui l'a demandée, quand, et pour quelles valeurs."""

    created_at: datetime
    account: str
    employee: Employee


class FollowedPrediction(RememberedPrediction, frozen=True, kw_only=True):
    """Une prédiction de l'historique, et ce qui l'a suivie."""

    outcomes: Annotated[
        tuple[Outcome, ...], Meta(description="Ce qu'il est advenu, du plus récent, qui compte, au plus ancien.")
    ]
    reviews: Annotated[
        tuple[Review, ...], Meta(description="Ce que des personnes en concluent, de la plus récente, qui compte.")
    ]


class PredictionPage(msgspec.Struct, frozen=True):
    """Une page de l'historique, de la plus récente à la plus ancienne."""

    items: tuple[RememberedPrediction, ...]
    next_cursor: Annotated[UUID | None, Meta(description="À passer en `cursor` pour la suite ; null à la fin.")]


def _explain(prediction: Prediction, language: Language) -> tuple[Contribution, ...] | None:
    log_odds = prediction.score.contributions
    if log_odds is None:
        return None
    values: list[float | str] = list(prediction.employee.features())
    values[_OVERTIME] = prediction.employee.overtime.value
    # Like the rest of the answer's path, written for speed: a key function of C costs half of a lambda.
    strongest_first = sorted(_INDICES, key=[abs(value) for value in log_odds].__getitem__, reverse=True)
    sentences = _SENTENCES[language]
    return tuple(
        [
            Contribution(FEATURES[index], values[index], share, sentences[index][_direction(share)])
            for index in strongest_first
            for share in (log_odds[index],)
        ]
    )


def _direction(log_odds: float) -> int:
    return 1 if log_odds >= NEGLIGIBLE else -1 if log_odds <= -NEGLIGIBLE else 0


def answer_to(prediction: Prediction, language: Language) -> PredictionAnswer:
    """What is told of `prediction`."""
    score = prediction.score
    return PredictionAnswer(
        prediction=int(prediction.leaves),
        probability=score.probability,
        message=RISK_MESSAGES[language][prediction.risk],
        id=prediction.id,
        threshold=prediction.threshold,
        risk=prediction.risk,
        model_version=prediction.model_version,
        intercept=prediction.intercept,
        contributions=_explain(prediction, language),
        warnings=tuple(
            [Caution(FEATURES[index], "out_of_training_range", _WARNINGS[language]) for index in score.out_of_range]
        ),
    )


def _remembered(prediction: Prediction, language: Language) -> RememberedPrediction:
    return RememberedPrediction(
        **msgspec.structs.asdict(answer_to(prediction, language)),
        created_at=prediction.created_at,
        account=prediction.account,
        employee=prediction.employee,
    )


def predict_with(predict_attrition: PredictAttrition) -> HTTPRouteHandler:
    """The route `POST /predict`.

    Made here rather than asked for by name at each request: what Litestar does to provide one dependency takes as
    long as the prediction.
    """

    @post(
        "/predict",
        tags=_TAGS,
        security=_SECURITY,
        dto=StrictJSON[Employee],
        return_dto=None,
        status_code=200,
        response_class=JSONAnswer,
        summary="Prédire le départ d'un employé",
        description=(
            "Enregistre la prédiction avant de répondre : une réponse 200 survit à une panne. "
            "Une valeur hors de la plage d'apprentissage est évaluée à son bord et nommée dans `warnings`."
        ),
        responses=problem_responses(401, 413, 415, 422, 429, 503),
        response_description="La prédiction, enregistrée",
        operation_class=TrueOperation,
    )
    async def predict(
        data: Annotated[Employee, BodyKwarg(examples=[Example(summary="Risque élevé", value=EXAMPLE)])],
        request: ChurnRequest,
    ) -> PredictionAnswer:
        """One employee in, one prediction out."""
        prediction = await predict_attrition(data, account=request.user.username)
        return answer_to(prediction, language_of(request))

    return predict


class PredictionController(Controller):
    """Look back."""

    tags = _TAGS
    security = _SECURITY

    @get(
        "/predictions",
        summary="Parcourir l'historique",
        description="Chaque critère donné doit être vrai. Les dates sans fuseau sont en UTC.",
        responses=problem_responses(401, 422, 429, 503),
        response_description="Une page de l'historique",
        operation_class=TrueOperation,
    )
    async def find(  # noqa: PLR0917
        self,
        request: ChurnRequest,
        history: NamedDependency[HistoryRepository],
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
        cursor: Annotated[UUID | None, QueryParameter(description="`next_cursor` de la page précédente.")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Taille de la page.")] = 100,
    ) -> PredictionPage:
        """A page of the history, newest first."""
        # Litestar takes the word "null" for no value at all, though an account may have that name, and a number
        # for a moment.
        texts = list(request.query_params.multi_items())
        null = {name for name, text in texts if text == "null"}
        undated = {name for name, text in texts if name in {"since", "until"} and not _DATE.match(text)}
        if wrong := undated | null & {"prediction", "cursor", "limit"}:
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
        )
        # One more than asked for tells whether there is a next page.
        found = await history.find(criteria, before=cursor, limit=limit + 1)
        language = language_of(request)
        items = tuple(_remembered(item, language) for item in found[:limit])
        return PredictionPage(items, next_cursor=items[-1].id if len(found) > limit else None)

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
            **msgspec.structs.asdict(_remembered(found.prediction, language_of(request))),
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
