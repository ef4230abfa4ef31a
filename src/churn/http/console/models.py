"""Versions of the model: what they are worth, which of them serve, and the decision to change that."""

import re
from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from litestar.response import Redirect

from churn.domain.account import Role
from churn.domain.activation import REASON_PATTERN, rollback_target
from churn.domain.errors import NothingToUndo
from churn.domain.explanation import LABELS
from churn.domain.manifest import Feature, Manifest
from churn.http.console.card import Told, tell, tell_fairness
from churn.http.console.charts import calibration, share_bar, steps
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import text_of
from churn.http.console.words import TEXTS, Formats
from churn.http.language import chosen_language
from churn.ports import ModelCatalogue, ModelRegistry
from churn.use_cases.activate_model import ActivateModel, RollBackModel
from churn.use_cases.serving_model import ServingModel

Version = Annotated[str, PathParameter()]


class ModelsController(Controller):
    """Look at the versions, and decide which of them answers."""

    path = "/models"

    @get()
    async def find(
        self,
        request: ConsoleRequest,
        catalogue: NamedDependency[ModelCatalogue],
        registry: NamedDependency[ModelRegistry],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[str]:
        """Every version, newest first, and the log of decisions."""
        log = await registry.log()
        return page(
            request,
            "models.html",
            "models",
            manifests=list(reversed(await catalogue.manifests())),
            serving=serving_model.state,
            log=list(reversed(log)),
            target=rollback_target(log),
        )

    @get("/rollback", opt={"role": Role.ADMIN})
    async def confirm_rollback(
        self, request: ConsoleRequest, registry: NamedDependency[ModelRegistry]
    ) -> Response[str]:
        """The question whether to go back, and why."""
        return await _rollback(request, registry)

    @post("/rollback", opt={"role": Role.ADMIN}, status_code=303)
    async def roll_back(
        self,
        request: ConsoleRequest,
        registry: NamedDependency[ModelRegistry],
        roll_back_model: NamedDependency[RollBackModel],
    ) -> Response[Any]:
        """To the versions; or the question again, without a reason."""
        reason = await _reason(request)
        if reason is None:
            return await _rollback(request, registry, wrong=True)
        await roll_back_model(account=request.user.username, reason=reason)
        return Redirect("/console/models", status_code=303)

    @get("/{version:str}")
    async def read(
        self,
        request: ConsoleRequest,
        version: Version,
        catalogue: NamedDependency[ModelCatalogue],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[str]:
        """The card of a version."""
        manifest = await catalogue.manifest(version)
        formats = Formats(chosen_language(request))
        features = sorted(
            manifest.features, key=lambda item: item.importance.estimate if item.importance else 0.0, reverse=True
        )
        return page(
            request,
            "model.html",
            "models",
            manifest=manifest,
            serving=serving_model.state,
            calibration=calibration(manifest.reliability),
            features=[_feature(formats, item, _largest_importance(manifest.features)) for item in features],
            fairness=[tell_fairness(formats, trait) for trait in manifest.fairness],
            uses=_uses(formats, manifest),
        )

    @get("/{version:str}/activate", opt={"role": Role.ADMIN})
    async def confirm_activation(
        self,
        request: ConsoleRequest,
        version: Version,
        catalogue: NamedDependency[ModelCatalogue],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[str]:
        """The question whether to let the version answer, and why."""
        return await _activation(request, version, catalogue, serving_model)

    @post("/{version:str}/activate", opt={"role": Role.ADMIN}, status_code=303)
    async def activate(
        self,
        request: ConsoleRequest,
        version: Version,
        catalogue: NamedDependency[ModelCatalogue],
        serving_model: NamedDependency[ServingModel],
        activate_model: NamedDependency[ActivateModel],
    ) -> Response[Any]:
        """To the versions; or the question again, without a reason."""
        reason = await _reason(request)
        if reason is None:
            return await _activation(request, version, catalogue, serving_model, wrong=True)
        await activate_model(version, account=request.user.username, reason=reason)
        return Redirect("/console/models", status_code=303)


async def _reason(request: ConsoleRequest) -> str | None:
    """The reason that the form gives, as one line; None if it gives none that can be kept."""
    reason = " ".join(text_of(await request.form(), "reason").split())
    return reason if re.search(REASON_PATTERN, reason) else None


async def _activation(
    request: ConsoleRequest,
    version: str,
    catalogue: ModelCatalogue,
    serving_model: ServingModel,
    *,
    wrong: bool = False,
) -> Response[str]:
    manifest = await catalogue.manifest(version)
    return page(
        request,
        "model_decision.html",
        "models",
        status_code=422 if wrong else 200,
        kind="activate",
        version=manifest.version,
        current=serving_model.state.version,
        address=f"/console/models/{manifest.version}/activate",
        wrong=wrong,
    )


async def _rollback(request: ConsoleRequest, registry: ModelRegistry, *, wrong: bool = False) -> Response[str]:
    log = await registry.log()
    target = rollback_target(log)
    if target is None:
        raise NothingToUndo("there is no earlier version to roll back to")
    return page(
        request,
        "model_decision.html",
        "models",
        status_code=422 if wrong else 200,
        kind="rollback",
        version=target,
        current=log[-1].version,
        address="/console/models/rollback",
        wrong=wrong,
    )


def _uses(formats: Formats, manifest: Manifest) -> list[tuple[str, list[Told]]]:
    """Title and sentences of each part that the manifest has."""
    texts = TEXTS[formats.language]["models"]
    parts = (
        ("intended", manifest.intended_use),
        ("forbidden", manifest.forbidden_use),
        ("limits", manifest.limits),
    )
    return [(texts[name], [tell(formats, text) for text in said]) for name, said in parts if said]


def _largest_importance(features: tuple[Feature, ...]) -> float:
    return max((item.importance.estimate for item in features if item.importance), default=0.0) or 1.0


def _feature(formats: Formats, feature: Feature, largest: float) -> dict[str, object]:
    """What the card says of one input."""
    name = feature.name
    if feature.kind == "boolean":
        known = f"{formats.value(name, 'Non')}, {formats.value(name, 'Oui')}"
    else:
        unit = formats.unit(name)
        known = f"{formats.exact(feature.low)} – {formats.exact(feature.high)}" + (f"\u00a0{unit}" if unit else "")
    importance = feature.importance
    return {
        "label": LABELS[formats.language].get(name, name),
        "known": known,
        "bar": share_bar(max(importance.estimate, 0.0), largest) if importance else "",
        "importance": formats.number(importance.estimate, 3) if importance else "",
        "effect_words": (
            " … ".join(
                formats.number(score, 2, signed=True) for score in (feature.effect.scores[0], feature.effect.scores[-1])
            )
            if feature.effect
            else ""
        ),
        "effect": steps(feature.effect, feature.low, feature.high) if feature.effect else "",
    }
