"""`/monitoring`: is the model still to be believed?"""

from datetime import date
from typing import Annotated, Any, Final

from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter
from msgspec import Meta

from churn.domain.account import Account
from churn.domain.drift import DriftReport
from churn.domain.errors import EmptyPeriod
from churn.domain.manifest import VERSION_PATTERN
from churn.domain.performance import ASSUMPTION, PerformanceReport
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.http.query import each_parameter_once, null_parameters
from churn.use_cases.report_drift import ReportDrift
from churn.use_cases.report_performance import ReportPerformance

MonitoringRequest = Request[Account, object, Any]

# Words, because Litestar also takes a number or a moment for a day.
_DAY: Final[dict[str, Any]] = {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "schema_extra": {"format": "date"}}
Since = Annotated[str | None, QueryParameter(**_DAY, description="Premier jour (UTC).")]
Until = Annotated[str | None, QueryParameter(**_DAY, description="Jour qui suit le dernier (UTC).")]
ModelVersion = Annotated[str | None, QueryParameter(pattern=VERSION_PATTERN, description="Version du modèle.")]


class PerformanceAnswer(PerformanceReport, frozen=True, kw_only=True):
    """Le modèle a-t-il eu raison ?"""

    assumption: Annotated[str, Meta(description="Ce que suppose l'estimation, en français ou en anglais.")]


class MonitoringController(Controller):
    """What the model is asked, and whether it was right."""

    path = "/monitoring"
    tags = ["Surveillance"]
    security = [{"basic": []}]
    guards = (each_parameter_once,)

    @get(
        "/drift",
        summary="Mesurer la dérive",
        description=(
            "Ce que le modèle reçoit ressemble-t-il encore à ce qu'il a appris ? Chaque variable, et la probabilité, "
            "est comparée à la référence du modèle : elle dérive si l'écart est à la fois significatif et grand. Sous "
            "100 prédictions, `insufficient_data`. Par défaut : la version active, sur trente jours avec aujourd'hui. "
            "Les jours sont ceux d'UTC, entiers."
        ),
        response_description="Le rapport",
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 422, 429, 503),
    )
    async def drift(
        self,
        request: MonitoringRequest,
        report_drift: NamedDependency[ReportDrift],
        since: Since = None,
        until: Until = None,
        model_version: ModelVersion = None,
    ) -> DriftReport:
        """The traffic of a period against the reference."""
        first, end = _period(since, until)
        try:
            return await report_drift(since=first, until=end, model_version=_version(request, model_version))
        except EmptyPeriod:
            raise ValidationException(extra=[{"key": "until"}]) from None

    @get(
        "/performance",
        summary="Mesurer ce que le modèle a valu",
        description=(
            "Par version et par mois, d'après les résultats enregistrés : aire sous la courbe ROC, précision, rappel, "
            "Brier et calibration par niveau de risque. Seules comptent les prédictions dont l'horizon est échu ; qui "
            "n'a pas été observé assez longtemps est censuré, pas « resté ». Pour le temps d'avant, une estimation "
            "d'après les probabilités, avec ce qu'elle suppose. Par défaut : toutes les versions, les douze mois de "
            "prédictions les plus récents à être échus, et tout ce qui suit."
        ),
        response_description="Le rapport",
        operation_class=TrueOperation,
        responses=problem_responses(401, 422, 429, 503),
    )
    async def performance(
        self,
        request: MonitoringRequest,
        report_performance: NamedDependency[ReportPerformance],
        since: Since = None,
        until: Until = None,
        model_version: ModelVersion = None,
    ) -> PerformanceAnswer:
        """What the predictions of a period were worth."""
        first, end = _period(since, until)
        try:
            report = await report_performance(since=first, until=end, model_version=_version(request, model_version))
        except EmptyPeriod:
            raise ValidationException(extra=[{"key": "until"}]) from None
        return PerformanceAnswer(
            **{name: getattr(report, name) for name in PerformanceReport.__struct_fields__},
            assumption=ASSUMPTION[language_of(request)],
        )


def _period(since: str | None, until: str | None) -> tuple[date | None, date | None]:
    days: dict[str, date | None] = {}
    wrong = []
    for name, text in (("since", since), ("until", until)):
        try:
            days[name] = None if text is None else date.fromisoformat(text)
        except ValueError:  # no such day
            wrong.append({"key": name})
    if wrong:
        raise ValidationException(extra=wrong)
    return days["since"], days["until"]


def _version(request: MonitoringRequest, version: str | None) -> str | None:
    return "null" if "model_version" in null_parameters(request) else version
