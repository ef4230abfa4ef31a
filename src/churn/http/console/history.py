"""The history: what was predicted, found again."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.response import Redirect
from msgspec import UNSET

from churn.domain.account import is_username
from churn.domain.employee import EMPLOYEE_REF_PATTERN
from churn.domain.prediction import RISK_MESSAGES, HistoryFilter, Prediction, Risk
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import day_of, uuid_of
from churn.http.console.words import Formats
from churn.http.export import Format, export
from churn.http.language import chosen_language
from churn.ports import HistoryRepository, ModelCatalogue
from churn.use_cases.export_history import ExportHistory
from churn.use_cases.turns import Turns

#: Rows of a page.
_PAGE: Final = 25
_FILTERS: Final = ("ref", "since", "until", "leaves", "account", "model")
_DAY: Final = timedelta(days=1)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction in the list."""

    id: UUID
    created_at: datetime
    reference: str
    risk: Risk
    message: str
    percent: str
    width: str
    """Of its bar, in percent of the place."""
    account: str


class HistoryController(Controller):
    """Find a prediction again."""

    @get("/history.csv")
    async def export(
        self, request: ConsoleRequest, export_history: NamedDependency[ExportHistory], turns: NamedDependency[Turns]
    ) -> Response[Any]:
        """All that is found, as the API exports it."""
        criteria, wrong = _criteria(_asked(request))
        if wrong:
            raise ValidationException(extra=[{"key": name} for name in wrong])
        found = await export_history(criteria, before=None, account=request.user.username)
        return await export(found, Format.CSV, chosen_language(request), turns)

    @get("/history")
    async def find(
        self,
        request: ConsoleRequest,
        history: NamedDependency[HistoryRepository],
        catalogue: NamedDependency[ModelCatalogue],
    ) -> Response[Any]:
        """A page of the history, newest first; what is looked for is in the address."""
        asked = _asked(request)
        if (identifier := uuid_of(asked["ref"])) is not None and await history.get(identifier) is not None:
            return Redirect(f"/console/predictions/{identifier}", status_code=303)
        criteria, wrong = _criteria(asked)
        before = uuid_of(request.query_params.get("before", ""))
        # One more than a page has tells whether there is a next one.
        found = [] if wrong else await history.find(criteria, before=before, limit=_PAGE + 1)
        formats = Formats(chosen_language(request))
        given = {name: value for name, value in asked.items() if value}
        return page(
            request,
            "history.html",
            "history",
            asked=asked,
            wrong=wrong,
            filtered=bool(given),
            export=f"/console/history.csv?{urlencode(given)}",
            rows=[row_of(formats, prediction) for prediction in found[:_PAGE]],
            first=None if before is None else _address(given),
            older=_address(given | {"before": str(found[_PAGE - 1].id)}) if len(found) > _PAGE else None,
            versions=[manifest.version for manifest in await catalogue.manifests()],
        )


def _asked(request: ConsoleRequest) -> dict[str, str]:
    return {name: request.query_params.get(name, "").strip()[:100] for name in _FILTERS}


def _address(query: dict[str, str]) -> str:
    return f"/console/history?{urlencode(query)}" if query else "/console/history"


def _criteria(asked: dict[str, str]) -> tuple[HistoryFilter, list[str]]:
    """What to look for, and the names of what cannot be looked for."""
    since, until = day_of(asked["since"]), day_of(asked["until"])
    valid = {
        "ref": re.search(EMPLOYEE_REF_PATTERN, asked["ref"]) is not None,
        "since": since is not None,
        # The day after the last one must still be in the calendar.
        "until": until is not None and until < date.max,
        "leaves": asked["leaves"] in {"0", "1"},
        "account": is_username(asked["account"]),
        "model": "\x00" not in asked["model"],
    }
    wrong = [name for name, text in asked.items() if text and not valid[name]]
    if wrong:
        return HistoryFilter(), wrong
    return (
        HistoryFilter(
            since=UNSET if since is None else datetime.combine(since, time.min, UTC),
            until=UNSET if until is None else datetime.combine(until + _DAY, time.min, UTC),
            leaves=UNSET if not asked["leaves"] else asked["leaves"] == "1",
            employee_ref=asked["ref"] or UNSET,
            account=asked["account"] or UNSET,
            model_version=asked["model"] or UNSET,
        ),
        [],
    )


def row_of(formats: Formats, prediction: Prediction) -> Row:
    """How `prediction` is listed."""
    reference = prediction.employee.employee_ref
    return Row(
        id=prediction.id,
        created_at=prediction.created_at,
        reference="" if reference is UNSET else reference,
        risk=prediction.risk,
        message=RISK_MESSAGES[formats.language][prediction.risk],
        percent=formats.percent(prediction.score.probability),
        width=f"{100 * prediction.score.probability:.1f}%",
        account=prediction.account,
    )
