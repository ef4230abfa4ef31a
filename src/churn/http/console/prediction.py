"""The page of one prediction: what was answered, why, and what would change the answer."""

import re
from collections.abc import Collection, Mapping
from math import ceil
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from churn.domain.activation import REASON_PATTERN
from churn.domain.employee import FEATURES, Employee
from churn.domain.errors import ModelUnavailable, OutcomesRefused, UnknownModel
from churn.domain.explanation import LABELS
from churn.domain.manifest import Manifest
from churn.domain.prediction import Prediction
from churn.domain.review import Decision
from churn.domain.what_if import CAVEAT, MAX_RAISE
from churn.http.console.answer import answer_of, shares_of
from churn.http.console.page import ConsoleRequest, fragment, page
from churn.http.console.person import employee_of
from churn.http.console.reading import day_of, probability_of, text_of
from churn.http.console.words import LEVELLED, TEXTS, Formats
from churn.http.language import chosen_language
from churn.ports import ModelCatalogue
from churn.use_cases.read_prediction import ReadPrediction
from churn.use_cases.record_outcomes import RecordOutcome
from churn.use_cases.review_prediction import ReviewPrediction
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


class ShowPrediction:
    """Makes the page of a prediction, for the handlers below."""

    def __init__(
        self,
        *,
        read_prediction: ReadPrediction,
        catalogue: ModelCatalogue,
        serving_model: ServingModel,
        explore_what_if: ExploreWhatIf,
    ) -> None:
        self._read = read_prediction
        self._catalogue = catalogue
        self._serving = serving_model
        self._explore = explore_what_if

    async def __call__(
        self,
        request: ConsoleRequest,
        prediction_id: UUID,
        *,
        typed: Mapping[str, str] | None = None,
        wrong: Collection[str] = (),
    ) -> Response[str]:
        """The page, with what was `typed` into one of its forms and the names of the fields that are `wrong`.

        Raises:
            UnknownPrediction: there is none of that id.
        """
        followed = await self._read(prediction_id)
        prediction = followed.prediction
        formats = Formats(chosen_language(request))
        score, values = prediction.score, msgspec.to_builtins(prediction.employee)
        manifest = await manifest_or_none(self._catalogue, prediction.model_version)
        return page(
            request,
            "prediction.html",
            "prediction",
            status_code=422 if wrong else 200,
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
            what_if=_what_if(formats, prediction, self._serving, self._explore, manifest),
            reviews=followed.reviews,
            outcomes=followed.outcomes,
            decisions=list(Decision),
            typed={"decision": "", "reason": "", "left": "", "observed_on": "", **(typed or {})},
            wrong=wrong,
        )


def show_prediction(
    read_prediction: NamedDependency[ReadPrediction],
    catalogue: NamedDependency[ModelCatalogue],
    serving_model: NamedDependency[ServingModel],
    explore_what_if: NamedDependency[ExploreWhatIf],
) -> ShowPrediction:
    """The dependency `show` of the handlers below."""
    return ShowPrediction(
        read_prediction=read_prediction,
        catalogue=catalogue,
        serving_model=serving_model,
        explore_what_if=explore_what_if,
    )


class PredictionController(Controller):
    """One prediction, what followed, and what if."""

    dependencies = {"show": Provide(show_prediction, sync_to_thread=False)}

    @get("/predictions/{prediction_id:uuid}")
    async def read(
        self,
        request: ConsoleRequest,
        prediction_id: FromPath[UUID],
        show: NamedDependency[ShowPrediction],
    ) -> Response[str]:
        """A prediction as it was answered, what followed, and what would change it today."""
        return await show(request, prediction_id)

    @post("/predictions/{prediction_id:uuid}/review", status_code=303)
    async def review(
        self,
        request: ConsoleRequest,
        prediction_id: FromPath[UUID],
        review_prediction: NamedDependency[ReviewPrediction],
        show: NamedDependency[ShowPrediction],
    ) -> Response[Any]:
        """To the prediction, with the visitor's conclusion; or the form with what is wrong with it."""
        form = await request.form()
        decision, reason = text_of(form, "decision"), " ".join(text_of(form, "reason").split())
        wrong = ({"decision"} if decision not in Decision else set()) | (
            set() if re.search(REASON_PATTERN, reason) else {"reason"}
        )
        if wrong:
            return await show(request, prediction_id, typed={"decision": decision, "reason": reason}, wrong=wrong)
        await review_prediction(
            prediction_id, decision=Decision(decision), reason=reason, account=request.user.username
        )
        return Redirect(f"/console/predictions/{prediction_id}#review", status_code=303)

    @post("/predictions/{prediction_id:uuid}/outcome", status_code=303)
    async def record_outcome(
        self,
        request: ConsoleRequest,
        prediction_id: FromPath[UUID],
        record_outcome: NamedDependency[RecordOutcome],
        show: NamedDependency[ShowPrediction],
    ) -> Response[Any]:
        """To the prediction, with what has become of the person; or the form with what is wrong with it."""
        form = await request.form()
        left, observed_on = text_of(form, "left"), day_of(text_of(form, "observed_on"))
        wrong = ({"left"} if left not in {"0", "1"} else set()) | ({"observed_on"} if observed_on is None else set())
        if observed_on is not None and not wrong:
            try:
                await record_outcome(
                    prediction_id, left=left == "1", observed_on=observed_on, account=request.user.username
                )
            except OutcomesRefused:
                wrong = {"observed_on"}
        if wrong:
            typed = {"left": left, "observed_on": "" if observed_on is None else observed_on.isoformat()}
            return await show(request, prediction_id, typed=typed, wrong=wrong)
        return Redirect(f"/console/predictions/{prediction_id}#outcome", status_code=303)

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
        return fragment(
            request,
            "what_if.html",
            "score",
            answer=answer_of(
                Formats(chosen_language(request)),
                score.probability,
                threshold=model.threshold,
                risk=model.risk(score.probability),
                manifest=await manifest_or_none(catalogue, model.version),
                before=probability_of(text_of(form, "before")),
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
