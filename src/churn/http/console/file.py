"""Many people: a CSV file in, a ranked list out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import batched
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.response import Redirect, Stream
from msgspec import UNSET

from churn.domain.account import is_username
from churn.domain.employee import DEMONSTRATION, FEATURES, Employee
from churn.domain.errors import ChurnError
from churn.domain.explanation import LABELS, sentence
from churn.domain.prediction import RISK_MESSAGES, HistoryFilter, Prediction, Risk
from churn.http.console.charts import distribution
from churn.http.console.history import row_of
from churn.http.console.page import ConsoleRequest, fragment, page
from churn.http.console.reading import uuid_of
from churn.http.console.sheet import Line, NoSheet, Sheet, lines, read_sheet
from churn.http.console.words import TEXTS, Formats
from churn.http.csv_answer import write_csv
from churn.http.json_body import FieldError
from churn.http.language import chosen_language
from churn.http.problems import problem_of
from churn.ports import HistoryRepository
from churn.settings import Settings
from churn.use_cases.predict_workforce import PredictWorkforce
from churn.use_cases.turns import Turns

#: Rows read in one turn of the event loop, so that it takes a few milliseconds.
_SLICE: Final = 128
#: Rejected rows that are shown, and rows of a preview.
_MOST_REJECTED: Final = 200
_PREVIEWED: Final = 5
#: Rows of a page of the ranked list, and predictions read at once.
_PAGE: Final = 25
_BLOCK: Final = 1000
_BINS: Final = 20
_REF: Final = "employee_ref"


class Refused(Exception):
    """The file cannot be scored at all; `name` is that of the text that says why."""

    def __init__(self, name: str, **values: object) -> None:
        super().__init__(name)
        self.name = name
        self.values = values


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file."""

    predictions: Sequence[Prediction]
    rejected: Sequence[Line]


class FileController(Controller):
    """Score a file, and look at what came out."""

    path = "/file"

    @get(sync_to_thread=False)
    def form(self, request: ConsoleRequest, settings: NamedDependency[Settings]) -> Response[str]:
        """The form."""
        return _form(request, settings)

    @get("/example.csv", sync_to_thread=False)
    def example(self, request: ConsoleRequest) -> Response[bytes]:
        """A file with the right columns."""
        formats = Formats(chosen_language(request))
        values = msgspec.to_builtins(DEMONSTRATION)
        titles = (_REF, *FEATURES)
        return _csv("churn.csv", [titles, ["E-1024", *(values[name] for name in FEATURES)]], formats)

    @post("/preview", status_code=200)
    async def preview(self, request: ConsoleRequest) -> Response[str]:
        """What the beginning of a file holds, as a part of a page."""
        language = chosen_language(request)
        try:
            sheet = read_sheet(await _content(request))
        except (NoSheet, Refused):
            return fragment(request, "file_preview.html", "file", sheet=None)
        return fragment(
            request,
            "file_preview.html",
            "file",
            sheet=sheet,
            recognised=[(title, _label(request, name)) for title, name in sheet.recognised],
            missing=[LABELS[language][name] for name in sheet.missing],
            rows=[[cells.get(name, "") for _, name in sheet.recognised] for _, cells in sheet.rows[:_PREVIEWED]],
        )

    @post(status_code=200)
    async def score(
        self,
        request: ConsoleRequest,
        predict_workforce: NamedDependency[PredictWorkforce],
        settings: NamedDependency[Settings],
        turns: NamedDependency[Turns],
    ) -> Response[Any]:
        """To the ranked list; first the rows that were rejected, if there are any."""
        try:
            sheet = _sheet(await _content(request), settings)
        except Refused as refused:
            return _form(request, settings, refused=refused)
        scored = await _score(sheet, predict_workforce, turns, account=request.user.username)
        if not scored.rejected:
            return Redirect(_results(request, scored.predictions), status_code=303)
        return page(request, "file_scored.html", "file", told=_told(request, scored))

    @post("/progress", status_code=200)
    async def score_with_progress(
        self,
        request: ConsoleRequest,
        predict_workforce: NamedDependency[PredictWorkforce],
        settings: NamedDependency[Settings],
        turns: NamedDependency[Turns],
    ) -> Stream:
        """The same for a script: a JSON object a line, of which the last says where to go, or what to show."""

        async def events() -> AsyncIterator[bytes]:
            done: asyncio.Queue[int | None] = asyncio.Queue()
            try:
                sheet = _sheet(await _content(request), settings)
                task = asyncio.create_task(
                    _score(sheet, predict_workforce, turns, account=request.user.username, progress=done.put_nowait)
                )
                task.add_done_callback(lambda _: done.put_nowait(None))
                while (rows := await done.get()) is not None:
                    yield _event(done=rows, total=len(sheet.rows))
                scored = await task
            except Refused as refused:
                yield _event(wrong=_refusal(request, refused))
            except ChurnError as error:
                yield _event(wrong=problem_of(request, error, chosen_language(request))[0].detail)
            else:
                if scored.rejected:
                    shown = fragment(request, "file_rejected.html", "file", told=_told(request, scored)).content
                    yield _event(html=shown)
                else:
                    yield _event(location=_results(request, scored.predictions))

        return Stream(events(), media_type="application/x-ndjson", headers={"cache-control": "no-store"})

    @get("/results")
    async def results(self, request: ConsoleRequest, history: NamedDependency[HistoryRepository]) -> Response[str]:
        """The ranked list of what a file's rows were given; what is looked for is in the address."""
        found = await _found(request, history)
        formats = Formats(chosen_language(request))
        wanted, ref = request.query_params.get("risk", ""), request.query_params.get("ref", "").strip()[:100]
        chosen = [
            (rank, prediction)
            for rank, prediction in enumerate(found, 1)
            if (wanted not in Risk or prediction.risk == wanted) and ref.casefold() in _reference(prediction).casefold()
        ]
        text = request.query_params.get("page", "1")
        last = max(1, -(-len(chosen) // _PAGE))
        number = min(max(int(text), 1), last) if text.isascii() and text.isdigit() and len(text) < 9 else 1  # noqa: PLR2004
        start = (number - 1) * _PAGE
        counts = {risk: sum(prediction.risk is risk for prediction in found) for risk in Risk}
        return page(
            request,
            "file_results.html",
            "file",
            total=len(found),
            counts=[(risk, RISK_MESSAGES[formats.language][risk], counts[risk]) for risk in reversed(Risk)],
            chart=distribution(_shares(found), threshold=found[0].threshold),
            expected=sum(prediction.score.probability for prediction in found),
            rows=[(rank, row_of(formats, prediction)) for rank, prediction in chosen[start : start + _PAGE]],
            factors=[_strongest(prediction, formats) for _, prediction in chosen[start : start + _PAGE]],
            address={name: request.query_params.get(name, "") for name in ("first", "last", "by")},
            risk=wanted,
            ref=ref,
            number=number,
            last=last,
            chosen=len(chosen),
        )

    @get("/results.csv")
    async def download(self, request: ConsoleRequest, history: NamedDependency[HistoryRepository]) -> Response[bytes]:
        """The whole ranked list, for a spreadsheet."""
        formats = Formats(chosen_language(request))
        texts = TEXTS[formats.language]["file"]
        found = await _found(request, history)
        titles = [texts[name] for name in ("rank", "ref", "probability", "risk", "why", "id")]
        table = [
            (
                rank,
                _reference(prediction),
                formats.number(prediction.score.probability, 4),
                RISK_MESSAGES[formats.language][prediction.risk],
                _strongest(prediction, formats),
                str(prediction.id),
            )
            for rank, prediction in enumerate(found, 1)
        ]
        return _csv("predictions.csv", [titles, *table], formats)


async def _content(request: ConsoleRequest) -> bytes:
    upload = (await request.form()).get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        raise Refused("no_file")
    return await upload.read()


def _sheet(content: bytes, settings: Settings) -> Sheet:
    """The table in `content`, if it can be scored."""
    try:
        sheet = read_sheet(content)
    except NoSheet:
        raise Refused("no_sheet") from None
    if sheet.missing:
        raise Refused("missing_columns", names=sheet.missing)
    if not sheet.rows:
        raise Refused("no_rows")
    if len(sheet.rows) > settings.batch_max_rows:
        raise Refused("too_many_rows", most=settings.batch_max_rows)
    return sheet


async def _score(
    sheet: Sheet,
    predict_workforce: PredictWorkforce,
    turns: Turns,
    *,
    account: str,
    progress: Callable[[int], object] = lambda _: None,
) -> Scored:
    """Score the rows of `sheet`; `progress` is told how many of them are read."""
    rejected: list[Line] = []

    async def employees() -> AsyncIterator[Sequence[Employee]]:
        done = 0
        for some in batched(lines(sheet), _SLICE, strict=False):
            async with turns:
                rejected.extend(line for line in some if line.employee is None)
                done += len(some)
                progress(done)
            yield [line.employee for line in some if line.employee is not None]

    predictions = await predict_workforce(employees(), account=account)
    return Scored(predictions=predictions, rejected=rejected)


def _form(request: ConsoleRequest, settings: Settings, *, refused: Refused | None = None) -> Response[str]:
    language = chosen_language(request)
    return page(
        request,
        "file.html",
        "file",
        status_code=422 if refused else 200,
        wrong=_refusal(request, refused) if refused else "",
        columns=[(LABELS[language][name], name) for name in FEATURES],
        most=settings.batch_max_rows,
    )


def _refusal(request: ConsoleRequest, refused: Refused) -> str:
    language = chosen_language(request)
    values, text = dict(refused.values), TEXTS[language]["file"][refused.name]
    if isinstance(names := values.get("names"), list):
        values["names"] = ", ".join(LABELS[language][name] for name in names)
    if isinstance(most := values.get("most"), int):
        return Formats(language).count(text, most)
    return text.format(**values)


def _told(request: ConsoleRequest, scored: Scored) -> dict[str, object]:
    return {
        "scored": len(scored.predictions),
        "rejected": [
            (line.number, [_told_error(request, item) for item in line.errors])
            for line in scored.rejected[:_MOST_REJECTED]
        ],
        "rejected_count": len(scored.rejected),
        "results": _results(request, scored.predictions) if scored.predictions else "",
    }


def _told_error(request: ConsoleRequest, error: FieldError) -> tuple[str, str]:
    """The name of the field, and what is wrong with it."""
    language, name = chosen_language(request), error.pointer.removeprefix("/")
    detail = TEXTS[language]["person"]["reference_error"] if name == _REF else error.detail[language]
    return _label(request, name), detail


def _label(request: ConsoleRequest, name: str) -> str:
    language = chosen_language(request)
    return LABELS[language].get(name) or TEXTS[language]["file"]["ref"]


def _results(request: ConsoleRequest, predictions: Sequence[Prediction]) -> str:
    identifiers = [prediction.id for prediction in predictions]
    return f"/console/file/results?first={min(identifiers)}&last={max(identifiers)}&by={request.user.username}"


async def _found(request: ConsoleRequest, history: HistoryRepository) -> list[Prediction]:
    """The predictions from `first` to `last` that the account `by` asked for, the highest risk first.

    Raises:
        NotFoundException: there is none.
    """
    first, last = (uuid_of(request.query_params.get(name, "")) for name in ("first", "last"))
    by = request.query_params.get("by", "")
    found: list[Prediction] = []
    if first is not None and last is not None and is_username(by):
        before = UUID(int=min(last.int + 1, (1 << 128) - 1))
        criteria = HistoryFilter(account=by)
        while len(found) < 100 * _BLOCK:
            block = await history.find(criteria, before=before, limit=_BLOCK)
            found += [prediction for prediction in block if prediction.id >= first]
            if len(block) < _BLOCK or block[-1].id < first:
                break
            before = block[-1].id
    if not found:
        raise NotFoundException
    return sorted(found, key=lambda prediction: (-prediction.score.probability, prediction.id))


def _shares(predictions: Sequence[Prediction]) -> list[float]:
    counts = [0] * _BINS
    for prediction in predictions:
        counts[min(int(prediction.score.probability * _BINS), _BINS - 1)] += 1
    return [count / len(predictions) for count in counts]


def _strongest(prediction: Prediction, formats: Formats) -> str:
    """In words, the fact that raises the risk most; empty if none does, or the model does not say."""
    contributions = prediction.score.contributions
    if contributions is None or max(contributions) <= 0:
        return ""
    strongest = max(range(len(FEATURES)), key=contributions.__getitem__)
    return sentence(FEATURES[strongest], contributions[strongest], formats.language)


def _reference(prediction: Prediction) -> str:
    reference = prediction.employee.employee_ref
    return "" if reference is UNSET else reference


def _event(**values: object) -> bytes:
    return msgspec.json.encode(values) + b"\n"


def _csv(name: str, table: Sequence[Sequence[object]], formats: Formats) -> Response[bytes]:
    delimiter = ";" if formats.decimal_comma else ","
    # The mark is for Excel, which else takes UTF-8 for Windows-1252.
    return Response(
        b"\xef\xbb\xbf" + write_csv(table, delimiter),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
