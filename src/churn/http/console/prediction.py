"""The page of one prediction: what was answered, why, and what would change the answer."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from churn.domain.employee import FEATURES, Employee
from churn.domain.errors import ModelUnavailable, UnknownModel
from churn.domain.explanation import LABELS
from churn.domain.manifest import Manifest
from churn.domain.prediction import Prediction
from churn.domain.what_if import CAVEAT, MAX_RAISE
from churn.http.console.answer import answer_of, shares_of
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.person import employee_of
from churn.http.console.words import LEVELLED, TEXTS, Formats
from churn.http.language import chosen_language
from churn.ports import HistoryRepository, ModelCatalogue
from churn.use_cases.serving_model import ServingModel
from churn.use_cases.what_if import ExploreWhatIf

_OVERTIME: Final = "heures_supp"
_INCOME: Final = "revenu_mensuel"
_COMMUTE: Final = "distance_domicile_travail"
#: What an employer can change, in the order of the sliders.
_LEVERS: Final = (_OVERTIME, _INCOME, _COMMUTE, "satisfaction_environnement", "satisfaction_equilibre")


class Slider(msgspec.Struct, frozen=True, kw_only=True):
    """One input that can be moved; numbers as a form sends them."""

    name: str
    label: str
    kind: str
    """`check`, `level` or `number`."""
    value: str
    low: str
    high: str
    step: str
    shown: str
    unit: str


class PredictionController(Controller):
    """One prediction, and others like it."""

    @get("/predictions/{prediction_id:uuid}")
    async def read(  # noqa: PLR0917
        self,
        request: ConsoleRequest,
        prediction_id: FromPath[UUID],
        history: NamedDependency[HistoryRepository],
        catalogue: NamedDependency[ModelCatalogue],
        explore_what_if: NamedDependency[ExploreWhatIf],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[str]:
        """A prediction as it was answered, and what would change it today."""
        prediction = await history.get(prediction_id)
        if prediction is None:
            raise NotFoundException
        formats = Formats(chosen_language(request))
        score, values = prediction.score, msgspec.to_builtins(prediction.employee)
        manifest = await manifest_or_none(catalogue, prediction.model_version)
        return page(
            request,
            "prediction.html",
            "prediction",
            prediction=prediction,
            reference=values.get("employee_ref", ""),
            answer=answer_of(
                formats, score.probability, threshold=prediction.threshold, risk=prediction.risk, manifest=manifest
            ),
            shares=shares_of(formats, prediction.employee, score.contributions),
            logit=None if score.contributions is None else (prediction.intercept or 0.0) + sum(score.contributions),
            cautions=[
                (LABELS[formats.language][feature], formats.value(feature, values[feature]))
                for feature in (FEATURES[index] for index in score.out_of_range)
            ],
            what_if=_what_if(formats, prediction, serving_model, explore_what_if, manifest),
        )

    @post("/what-if", status_code=200)
    async def what_if(
        self,
        request: ConsoleRequest,
        serving_model: NamedDependency[ServingModel],
        catalogue: NamedDependency[ModelCatalogue],
    ) -> Response[str]:
        """The answer for other values, as a part of a page; `before` is the probability that it is compared with."""
        form = await request.form()
        employee = employee_of(form)
        predictor = serving_model.current
        model, score = predictor.info, predictor.predict(employee)
        return page(
            request,
            "what_if.html",
            "score",
            answer=answer_of(
                Formats(chosen_language(request)),
                score.probability,
                threshold=model.threshold,
                risk=model.risk(score.probability),
                manifest=await manifest_or_none(catalogue, model.version),
                before=_probability(form.get("before")),
            ),
        )


async def manifest_or_none(catalogue: ModelCatalogue, version: str) -> Manifest | None:
    """The manifest of `version`; None if this machine has it no more."""
    try:
        return await catalogue.manifest(version)
    except UnknownModel:
        return None


def _what_if(
    formats: Formats,
    prediction: Prediction,
    serving_model: ServingModel,
    explore_what_if: ExploreWhatIf,
    manifest: Manifest | None,
) -> Mapping[str, object] | None:
    """What the model in service makes of the same person; None if there is none."""
    language, employee = formats.language, prediction.employee
    try:
        model = serving_model.current.info
        _, found = explore_what_if(employee, language)
    except ModelUnavailable:
        return None
    same_model = found.model_version == prediction.model_version
    instead = TEXTS[language]["prediction"]["instead"]
    values = msgspec.to_builtins(employee)
    return {
        "same_model": same_model,
        "caveat": CAVEAT[language],
        "before": found.probability,
        "answer": answer_of(
            formats,
            found.probability,
            threshold=found.threshold,
            risk=model.risk(found.probability),
            manifest=manifest if same_model else None,
            before=found.probability,
        ),
        "suggestions": [
            (
                LABELS[language][change.feature],
                instead.format(
                    value=formats.value(change.feature, change.value),
                    current=formats.value(change.feature, change.current),
                ),
                formats.percent(change.probability),
            )
            for change in found.changes
        ],
        "sliders": [_slider(formats, employee, name, manifest) for name in _LEVERS],
        "fixed": [(name, _plain(values[name])) for name in FEATURES if name not in _LEVERS],
    }


def _slider(formats: Formats, employee: Employee, name: str, manifest: Manifest | None) -> Slider:
    value: Any = msgspec.to_builtins(employee)[name]
    low, high, step = 1.0, 4.0, 1.0
    if name == _INCOME:
        # Percent by percent, as far as a raise is explored, so that the value itself is one of the steps.
        step = max(1.0, round(value / 100))
        low, high = max(0.0, value - MAX_RAISE * step), value + MAX_RAISE * step
    elif name == _COMMUTE:
        known = () if manifest is None else (feature.high for feature in manifest.features if feature.name == name)
        low, high = value % 1, max([ceil(value), *known])
    return Slider(
        name=name,
        label=LABELS[formats.language][name],
        kind="check" if name == _OVERTIME else "level" if name in LEVELLED else "number",
        value=_plain(value),
        low=_plain(low),
        high=_plain(high),
        step=_plain(step),
        shown=formats.value(name, value),
        unit=formats.unit(name),
    )


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _probability(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else -1.0
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
