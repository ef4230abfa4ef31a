"""`/models`: which versions there are, what they are worth, and which of them serve."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from churn.domain.account import Account, Role
from churn.domain.activation import REASON_PATTERN, Activation
from churn.domain.manifest import Manifest
from churn.http.json_body import StrictJSON
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.http.query import each_parameter_once
from churn.ports import ModelCatalogue, ModelRegistry
from churn.use_cases.activate_model import ActivateModel, RollBackModel, ShadowModel
from churn.use_cases.compare_models import CompareModels, Comparison
from churn.use_cases.serving_model import ServingModel
from churn.wire import ModelList, ModelSummary

ModelRequest = Request[Account, object, Any]

Version = Annotated[str, PathParameter(description="Version du modèle : le nom de son dossier.")]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pourquoi : la raison reste dans le registre, avec qui et quand."""

    reason: Annotated[
        str,
        Meta(
            pattern=REASON_PATTERN,
            title="Raison",
            description="1 à 500 caractères, sans caractère de contrôle.",
            examples=["Meilleure calibration sur les données de 2026."],
        ),
    ]


class ModelController(Controller):
    """Look at the versions, and decide which of them serve."""

    path = "/models"
    tags = ["Modèles"]
    security = [{"basic": []}]

    @get(
        summary="Lister les versions du modèle",
        operation_class=TrueOperation,
        responses=problem_responses(401, 429, 503),
    )
    async def find(
        self,
        catalogue: NamedDependency[ModelCatalogue],
        registry: NamedDependency[ModelRegistry],
        serving_model: NamedDependency[ServingModel],
    ) -> ModelList:
        """Every version, and its role."""
        serving = serving_model.state
        decided = await registry.current()
        active, shadow = (None, None) if decided is None else (decided.version, decided.shadow)
        roles: dict[str | None, Literal["active", "shadow"]] = {shadow: "shadow", active or serving.version: "active"}
        return ModelList(
            items=tuple(
                ModelSummary(
                    version=manifest.version,
                    created_at=manifest.created_at,
                    role=roles.get(manifest.version),
                    data=manifest.data.name,
                    employees=manifest.data.rows,
                    threshold=manifest.decision.threshold,
                    roc_auc=manifest.evaluation.model.roc_auc,
                    average_precision=manifest.evaluation.model.average_precision,
                    log_loss=manifest.evaluation.model.log_loss,
                    ece=manifest.evaluation.model.ece,
                )
                for manifest in await catalogue.manifests()
            ),
            serving=serving,
        )

    @get(
        "/activations",
        summary="Relire qui a décidé quoi",
        description="Chaque activation, retour en arrière et changement d'ombre, du plus ancien au plus récent.",
        operation_class=TrueOperation,
        responses=problem_responses(401, 429, 503),
    )
    async def activations(self, registry: NamedDependency[ModelRegistry]) -> list[Activation]:
        """The whole log."""
        return list(await registry.log())

    @get(
        "/compare",
        guards=[each_parameter_once],
        summary="Comparer deux versions",
        description=(
            "Leurs mesures à l'entraînement, côte à côte, et leur accord sur les demandes réelles que l'une a "
            "reçues pendant que l'autre était son ombre. `same_data` : faux si elles n'ont pas été évaluées sur les "
            "mêmes données, donc si leurs mesures ne se comparent guère."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 422, 429, 503),
    )
    async def compare(
        self,
        compare_models: NamedDependency[CompareModels],
        a: Annotated[str, QueryParameter(min_length=1, max_length=64, description="Une version.")],
        b: Annotated[str, QueryParameter(min_length=1, max_length=64, description="Une autre version.")],
    ) -> Comparison:
        """Both, side by side."""
        return await compare_models(a, b)

    @get(
        "/{version:str}",
        summary="Lire la carte d'un modèle",
        description=(
            "Données et licence, usages prévus et interdits, mesures avec leurs intervalles, seuil et ce qu'il "
            "coûte, équité, limites, et l'effet de chaque variable : ce que dit `CARD.md`, en JSON."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 429, 503),
    )
    async def read(self, version: Version, catalogue: NamedDependency[ModelCatalogue]) -> Manifest:
        """The manifest, from which the card is made."""
        return await catalogue.manifest(version)

    @post(
        "/{version:str}/activate",
        opt={"role": Role.ADMIN},
        dto=StrictJSON[Reason],
        return_dto=None,
        status_code=200,
        summary="Activer une version",
        description=(
            "Tous les processus s'en servent en deux secondes, sans qu'une demande échoue. `409` si elle est déjà "
            "active, si son dossier ne peut pas être chargé, ou si quelqu'un a décidé autre chose entre-temps : rien "
            "n'est alors changé."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 404, 409, 413, 415, 422, 429, 503),
    )
    async def activate(
        self,
        version: Version,
        data: JSONBody[Reason],
        request: ModelRequest,
        activate_model: NamedDependency[ActivateModel],
    ) -> Activation:
        """The decision, as it was recorded."""
        return await activate_model(version, account=request.user.username, reason=data.reason)

    @post(
        "/rollback",
        opt={"role": Role.ADMIN},
        dto=StrictJSON[Reason],
        return_dto=None,
        status_code=200,
        summary="Revenir à la version précédente",
        description=(
            "La version active avant la dernière activation ; une seconde fois, celle d'avant encore. `409` s'il n'y "
            "en a pas, si elle ne peut pas être chargée, ou si quelqu'un a décidé autre chose entre-temps."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 404, 409, 413, 415, 422, 429, 503),
    )
    async def roll_back(
        self, data: JSONBody[Reason], request: ModelRequest, roll_back_model: NamedDependency[RollBackModel]
    ) -> Activation:
        """The decision, as it was recorded."""
        return await roll_back_model(account=request.user.username, reason=data.reason)

    @post(
        "/{version:str}/shadow",
        opt={"role": Role.ADMIN},
        dto=StrictJSON[Reason],
        return_dto=None,
        status_code=200,
        summary="Mettre une version dans l'ombre",
        description=(
            "Elle évalue les mêmes demandes que la version active, après la réponse, et ne répond pas. `409` si elle "
            "est active ou ne peut pas être chargée, ou si quelqu'un a décidé autre chose entre-temps."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 404, 409, 413, 415, 422, 429, 503),
    )
    async def shadow(
        self,
        version: Version,
        data: JSONBody[Reason],
        request: ModelRequest,
        shadow_model: NamedDependency[ShadowModel],
    ) -> Activation:
        """The decision, as it was recorded."""
        return await shadow_model(version, account=request.user.username, reason=data.reason)

    @delete(
        "/shadow",
        opt={"role": Role.ADMIN},
        status_code=200,
        summary="Retirer la version de l'ombre",
        description="`409` s'il n'y en a pas, ou si quelqu'un a décidé autre chose entre-temps.",
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 409, 429, 503),
    )
    async def end_shadow(self, request: ModelRequest, shadow_model: NamedDependency[ShadowModel]) -> Activation:
        """The decision, as it was recorded."""
        return await shadow_model(None, account=request.user.username, reason="")
