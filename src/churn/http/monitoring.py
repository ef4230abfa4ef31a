"""`/monitoring`: is the model still to be believed?"""

import re
from datetime import date
from typing import Annotated, Any, Final

from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter

from churn.domain.account import Account
from churn.domain.drift import DriftReport
from churn.domain.errors import EmptyPeriod
from churn.domain.manifest import VERSION_PATTERN
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.use_cases.report_drift import ReportDrift

MonitoringRequest = Request[Account, object, Any]

_DAY: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAYS: Final = {"since", "until"}

Since = Annotated[date | None, QueryParameter(description="Premier jour (UTC).")]
Until = Annotated[date | None, QueryParameter(description="Jour qui suit le dernier (UTC).")]
ModelVersion = Annotated[str | None, QueryParameter(pattern=VERSION_PATTERN, description="Version du modèle.")]


class MonitoringController(Controller):
    """What the model is asked, and whether it was right."""

    path = "/monitoring"
    tags = ["Surveillance"]
    security = [{"basic": []}]

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
        _check_days(request)
        try:
            return await report_drift(since=since, until=until, model_version=_version(request, model_version))
        except EmptyPeriod:
            raise ValidationException(extra=[{"key": "until"}]) from None


def _check_days(request: MonitoringRequest) -> None:
    # Litestar also takes a number, a moment and the word "null" for a day.
    texts = request.query_params.multi_items()
    if wrong := {name for name, text in texts if name in _DAYS and not _DAY.fullmatch(text)}:
        raise ValidationException(extra=[{"key": name} for name in sorted(wrong)])


def _version(request: MonitoringRequest, version: str | None) -> str | None:
    # The word "null" is a version like any other.
    return "null" if ("model_version", "null") in request.query_params.multi_items() else version
