"""One person: the form."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import NamedDependency
from litestar.response import Redirect

from churn.domain.employee import FEATURES, Employee
from churn.domain.errors import ModelUnavailable
from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.domain.prediction import ModelInfo
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import text_of, uuid_of
from churn.http.console.words import LEVELLED, TEXTS, Formats, Pair, choose
from churn.http.json_body import InvalidBody, decode_strictly
from churn.http.language import chosen_language
from churn.ports import HistoryRepository
from churn.use_cases.predict_attrition import PredictAttrition
from churn.use_cases.serving_model import ServingModel

_REF: Final = "employee_ref"
_OVERTIME: Final = "heures_supp"
#: Wire names of the inputs by what they are about, in the order of the form.
_GROUPS: Final[tuple[tuple[Pair, tuple[str, ...]], ...]] = (
    (("La personne", "The person"), (_REF, "age", "exp_totale")),
    (
        ("Le poste", "The job"),
        ("revenu_mensuel", "distance_domicile_travail", "pee", _OVERTIME),
    ),
    (("Le parcours", "The career"), ("anciennete", "poste_actuel", "annees_promo")),
    (("Le ressenti", "The experience"), tuple(name for name in FEATURES if name in LEVELLED)),
)
_NUMBER: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_SPACES: Final = re.compile(r"[\s\u00a0\u202f]")


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the form, as it is shown."""

    name: str
    label: str
    kind: str
    """`text`, `number`, `level` or `choice`."""
    value: str
    hint: str
    unit: str
    error: str


class PersonController(Controller):
    """The form, and what becomes of it."""

    @get("/")
    async def form(
        self,
        request: ConsoleRequest,
        history: NamedDependency[HistoryRepository],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[str]:
        """The form, empty, or with the values of the prediction that `from` names."""
        values: dict[str, str] = {}
        if (source := uuid_of(request.query_params.get("from", ""))) is not None:
            found = await history.get(source)
            if found is not None:
                values = _texts_of(found.employee, Formats(chosen_language(request)))
        return _form_page(request, serving_model, values, {})

    @post("/", status_code=303)
    async def predict(
        self,
        request: ConsoleRequest,
        predict_attrition: NamedDependency[PredictAttrition],
        serving_model: NamedDependency[ServingModel],
    ) -> Response[Any]:
        """To the page of the answer, or the form with what is wrong with it."""
        form = await request.form()
        try:
            employee = employee_of(form)
        except InvalidBody as error:
            language = chosen_language(request)
            errors = {item.pointer.removeprefix("/"): item.detail[language] for item in error.errors}
            values = {name: text_of(form, name, longest=100) for name in (*FEATURES, _REF)}
            return _form_page(request, serving_model, values, errors, status_code=422)
        try:
            prediction = await predict_attrition(employee, account=request.user.username)
        except ModelUnavailable:
            return _form_page(request, serving_model, _texts_of(employee, Formats(chosen_language(request))), {}, 503)
        return Redirect(f"/console/predictions/{prediction.id}", status_code=303)


def employee_of(form: FormMultiDict) -> Employee:
    """The employee that `form` describes, numbers being written as in any of our languages.

    Raises:
        InvalidBody: naming each field that is wrong.
    """
    values: dict[str, object] = {}
    for name in (*FEATURES, _REF):
        text = text_of(form, name)
        number = _SPACES.sub("", text)
        if name not in {_REF, _OVERTIME} and _NUMBER.fullmatch(number):
            values[name] = float(number.replace(",", "."))
        elif text:
            values[name] = text
    # One reader for the API and the form, so that both take and refuse the same, in the same words.
    return decode_strictly(msgspec.json.encode(values), Employee)


def _form_page(
    request: ConsoleRequest,
    serving_model: ServingModel,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    status_code: int = 200,
) -> Response[str]:
    try:
        model: ModelInfo | None = serving_model.current.info
    except ModelUnavailable:
        model = None
    language = chosen_language(request)
    groups = [
        (choose(language, title), [_input(name, language, model, values, errors) for name in names])
        for title, names in _GROUPS
    ]
    return page(
        request,
        "person.html",
        "person",
        status_code=status_code,
        groups=groups,
        errors=[item for _, inputs in groups for item in inputs if item.error],
        has_model=model is not None,
    )


def _input(
    name: str, language: Language, model: ModelInfo | None, values: Mapping[str, str], errors: Mapping[str, str]
) -> Input:
    formats, texts = Formats(language), TEXTS[language]["person"]
    kind = {_REF: "text", _OVERTIME: "choice"}.get(name, "level" if name in LEVELLED else "number")
    hint = ""
    if name == _REF:
        hint = texts["reference_hint"]
    elif kind == "level":
        hint = texts["level_hint"]
    elif kind == "number" and model is not None:
        low, high = model.ranges[FEATURES.index(name)]
        hint = texts["known"].format(low=formats.exact(low), high=formats.exact(high))
    error = errors.get(name, "")
    if error and name == _REF:
        error = texts["reference_error"]
    elif error and kind in {"level", "choice"}:
        error = texts["choice_error"]
    return Input(
        name=name,
        label=texts["reference"] if name == _REF else LABELS[language][name],
        kind=kind,
        value=values.get(name, ""),
        hint=hint,
        unit=formats.unit(name),
        error=error,
    )


def _texts_of(employee: Employee, formats: Formats) -> dict[str, str]:
    """The values as they are typed in."""
    return {
        name: value if isinstance(value, str) else str(value) if name in LEVELLED else formats.exact(value)
        for name, value in msgspec.to_builtins(employee).items()
    }
