"""`/v2`: the Open Inference Protocol (REST), a second face of the same use cases for clients that speak it.

https://github.com/kserve/open-inference-protocol, without its optional binary extension.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as version_of
from itertools import chain
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Controller, Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType

from churn.domain.employee import FEATURES
from churn.domain.errors import ModelUnavailable, UnknownModel
from churn.domain.prediction import ModelInfo, Prediction
from churn.http.batch import too_many_rows
from churn.http.connection import ChurnRequest, JSONAnswer, answer_response
from churn.http.idempotency import OnceOperation, once
from churn.http.json_body import MOST_ERRORS, UNKNOWN, FieldError, InvalidBody, closest
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.problems import MEDIA_TYPE, problem_of, problem_responses
from churn.http.tensors import (
    Datatype,
    InferenceRequest,
    Parameters,
    TensorJSON,
    WantedOutput,
    columns_of,
    employees_of,
)
from churn.settings import Settings
from churn.use_cases.answer_once import AnswerOnce
from churn.use_cases.check_readiness import CheckReadiness, Condition
from churn.use_cases.predict_workforce import PredictWorkforce
from churn.use_cases.serving_model import ServingModel
from churn.use_cases.turns import Turns
from churn.wire import Problem

#: The one model there is, whichever version of it answers.
MODEL: Final = "churn"
_SECURITY: Final[list[dict[str, list[str]]]] = [{"basic": []}]

ModelName = Annotated[str, PathParameter(description=f"`{MODEL}`.")]
ModelVersion = Annotated[str | None, PathParameter(description="La version active : les autres sont introuvables.")]


class InferenceProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """Problème au sens de la RFC 9457, et du protocole."""

    error: Annotated[str, Meta(description="La même chose en une phrase, où les clients du protocole la cherchent.")]


class ServerMetadata(msgspec.Struct, frozen=True):
    """Ce qu'est ce serveur."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ServerLive(msgspec.Struct, frozen=True):
    """Le serveur répond."""

    live: bool


class ServerReady(ServerLive, frozen=True):
    """Le serveur peut répondre à une prédiction."""

    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """Le modèle peut répondre."""

    name: str
    ready: bool


class TensorMetadata(msgspec.Struct, frozen=True):
    """Un tenseur ; -1 est une dimension libre."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """Ce que le modèle prend et donne."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class OutputTensor(msgspec.Struct, frozen=True):
    """Un tenseur de la réponse, à plat, ligne par ligne."""

    name: str
    shape: tuple[int, ...]
    datatype: Datatype
    data: list[bool | int | float | str]


class InferenceResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Les prédictions, en tenseurs d'autant de lignes que la demande."""

    model_name: str
    model_version: str
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET
    outputs: tuple[OutputTensor, ...]


class _Output(NamedTuple):
    datatype: Datatype
    row: tuple[int, ...]
    """The shape of one employee's part."""
    data: Callable[[Sequence[Prediction]], list[Any]]


def _contributions(predictions: Sequence[Prediction]) -> list[float]:
    return list(chain.from_iterable(prediction.score.contributions or () for prediction in predictions))


def _out_of_range(predictions: Sequence[Prediction]) -> list[bool]:
    return [index in prediction.score.out_of_range for prediction in predictions for index in range(len(FEATURES))]


_OUTPUTS: Final[Mapping[str, _Output]] = {
    "probability": _Output(Datatype.FP64, (), lambda made: [prediction.score.probability for prediction in made]),
    "prediction": _Output(Datatype.INT64, (), lambda made: [int(prediction.leaves) for prediction in made]),
    "risk": _Output(Datatype.BYTES, (), lambda made: [prediction.risk.value for prediction in made]),
    "prediction_id": _Output(Datatype.BYTES, (), lambda made: [str(prediction.id) for prediction in made]),
    "out_of_range": _Output(Datatype.BOOL, (len(FEATURES),), _out_of_range),
    "contributions": _Output(Datatype.FP64, (len(FEATURES),), _contributions),
}
#: What is asked of each feature; a tensor of another datatype may hold the same numbers.
_INPUTS: Final = dict.fromkeys(FEATURES, Datatype.INT64) | {
    "revenu_mensuel": Datatype.FP64,
    "distance_domicile_travail": Datatype.FP64,
    "exp_totale": Datatype.FP64,
    "heures_supp": Datatype.BYTES,
}


def inference_problem(request: Request[Any, Any, Any], error: Exception) -> Response[InferenceProblem]:
    """Litestar's handler for every exception under `/v2`."""
    language = language_of(request)
    problem, headers = problem_of(request, error, language)
    details = [f"{item.pointer} : {item.detail}" if item.pointer else item.detail for item in problem.errors]
    sentence = " ".join([problem.detail, *details])
    answer = InferenceProblem(**{**msgspec.structs.asdict(problem), "error": sentence})
    return Response(answer, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


class InferenceHealthController(Controller):
    """For orchestrators: no account needed."""

    opt = {"exclude_from_auth": True}

    @get(
        "/health/live",
        summary="Le serveur est-il vivant ?",
        response_description="Il répond",
        operation_class=TrueOperation,
        sync_to_thread=False,
    )
    def live(self) -> ServerLive:
        """Always yes, if it can say so."""
        return ServerLive(live=True)

    @get(
        "/health/ready",
        summary="Le serveur peut-il répondre à une prédiction ?",
        description="Comme `/readyz`, qui dit aussi ce qui manque.",
        response_description="Prêt",
        operation_class=TrueOperation,
        responses=problem_responses(503, shape=InferenceProblem),
    )
    async def ready(self, check_readiness: NamedDependency[CheckReadiness]) -> ServerReady:
        """Yes, or a problem."""
        if Condition.FAILED in (await check_readiness()).values():
            raise ModelUnavailable("something that a prediction needs is missing")
        return ServerReady(live=True, ready=True)


class InferenceController(Controller):
    """The server, its model and what it answers."""

    security = _SECURITY

    @get(
        "/",
        summary="Décrire le serveur",
        operation_class=TrueOperation,
        responses=problem_responses(401, 429, 503, shape=InferenceProblem),
        sync_to_thread=False,
    )
    def server(self) -> ServerMetadata:
        """No extension of the protocol."""
        return ServerMetadata(name="churn", version=version_of("churn"), extensions=())

    @get(
        ["/models/{name:str}", "/models/{name:str}/versions/{version:str}"],
        summary="Décrire le modèle",
        description=(
            "Un tenseur par variable, dans n'importe quel ordre. `employee_ref` (`BYTES`) est facultatif ; "
            "`heures_supp` peut aussi être `BOOL`, ou 1 et 0. `contributions` et `out_of_range` ont une colonne par "
            "variable, dans l'ordre de `inputs`."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 429, 503, shape=InferenceProblem),
        sync_to_thread=False,
    )
    def model(
        self, serving_model: NamedDependency[ServingModel], name: ModelName, version: ModelVersion = None
    ) -> ModelMetadata:
        """Its inputs and its outputs."""
        active = _active(serving_model, name, version)
        return ModelMetadata(
            name=MODEL,
            versions=(active.version,),
            platform="churn_bundle",
            inputs=tuple(TensorMetadata(feature, datatype, (-1,)) for feature, datatype in _INPUTS.items()),
            outputs=tuple(
                TensorMetadata(output, kind.datatype, (-1, *kind.row)) for output, kind in _outputs(active).items()
            ),
        )

    @get(
        ["/models/{name:str}/ready", "/models/{name:str}/versions/{version:str}/ready"],
        summary="Le modèle peut-il répondre ?",
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 429, 503, shape=InferenceProblem),
        sync_to_thread=False,
    )
    def model_ready(
        self, serving_model: NamedDependency[ServingModel], name: ModelName, version: ModelVersion = None
    ) -> ModelReady:
        """Yes, or a problem."""
        _active(serving_model, name, version)
        return ModelReady(name=MODEL, ready=True)

    @post(
        ["/models/{name:str}/infer", "/models/{name:str}/versions/{version:str}/infer"],
        dto=TensorJSON,
        return_dto=None,
        status_code=200,
        summary="Prédire le départ d'employés donnés en tenseurs",
        description=(
            "Un tenseur par variable, ou un tenseur `[n, k]` dont `parameters.columns` donne les noms des colonnes, "
            "séparés par des virgules ; l'un n'empêche pas l'autre. Toutes les prédictions sont enregistrées, en une "
            "transaction, avant la réponse, ou aucune. `prediction_id` est leur identifiant dans l'historique."
        ),
        operation_class=OnceOperation,
        responses=answer_response(InferenceResponse, "Les prédictions, enregistrées")
        | problem_responses(401, 404, 409, 413, 415, 422, 429, 503, shape=InferenceProblem),
    )
    async def infer(  # noqa: PLR0917
        self,
        name: ModelName,
        data: JSONBody[InferenceRequest],
        request: ChurnRequest,
        predict_workforce: NamedDependency[PredictWorkforce],
        serving_model: NamedDependency[ServingModel],
        settings: NamedDependency[Settings],
        turns: NamedDependency[Turns],
        answer_once: NamedDependency[AnswerOnce],
        version: ModelVersion = None,
    ) -> JSONAnswer:
        """Tensors in, tensors out."""
        active = _active(serving_model, name, version)
        outputs = _wanted(data.outputs or (), _outputs(active))
        columns = columns_of(data)
        if len(columns[0].values) > settings.batch_max_rows:
            raise too_many_rows(settings.batch_max_rows)

        async def answer() -> InferenceResponse:
            predictions = await predict_workforce(
                employees_of(columns, turns), account=request.user.username, version=version
            )
            tensors = []
            for output, kind in outputs.items():
                async with turns:
                    tensors.append(_tensor(output, kind, predictions))
            return InferenceResponse(
                model_name=MODEL,
                model_version=predictions[0].model_version if predictions else active.version,
                id=data.id,
                outputs=tuple(tensors),
            )

        return await once(request, answer_once, answer)


def _active(serving: ServingModel, name: str, version: str | None) -> ModelInfo:
    """The model that answers.

    Raises:
        UnknownModel: it is not the one that is asked for.
        ModelUnavailable: there is none.
    """
    active = serving.current.info
    if name != MODEL or version not in {None, active.version}:
        raise UnknownModel(name if version is None else f"{name} {version}")
    return active


def _outputs(model: ModelInfo) -> Mapping[str, _Output]:
    """What `model` can give: contributions only if it explains itself."""
    return {name: kind for name, kind in _OUTPUTS.items() if name != "contributions" or model.intercept is not None}


def _wanted(outputs: Sequence[WantedOutput], known: Mapping[str, _Output]) -> Mapping[str, _Output]:
    errors = [
        FieldError(f"/outputs/{position}/name", "unknown", UNKNOWN, closest(output.name, tuple(known)))
        for position, output in enumerate(outputs)
        if output.name not in known
    ]
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])
    return {output.name: known[output.name] for output in outputs} or known


def _tensor(name: str, kind: _Output, predictions: Sequence[Prediction]) -> OutputTensor:
    return OutputTensor(name, (len(predictions), *kind.row), kind.datatype, kind.data(predictions))


def inference() -> Router:
    """Everything under `/v2`."""
    return Router(
        "/v2",
        route_handlers=[InferenceHealthController, InferenceController],
        tags=["Open Inference Protocol"],
        exception_handlers={Exception: inference_problem, HTTPException: inference_problem},
    )
