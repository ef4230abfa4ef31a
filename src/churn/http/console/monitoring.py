"""Is the model still to be believed? What it is asked, and what it was worth."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

import msgspec
import numpy as np
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException

from churn.domain.drift import SCORE, ColumnDrift, DriftReport, Verdict
from churn.domain.employee import FEATURES
from churn.domain.errors import EmptyPeriod
from churn.domain.explanation import LABELS
from churn.domain.manifest import Interval, Manifest
from churn.domain.performance import ASSUMPTION, Performance
from churn.domain.prediction import RISK_MESSAGES
from churn.domain.traffic import Binning, Counts, rows
from churn.http.console.charts import bars, gauge, trend
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import day_of
from churn.http.console.words import TEXTS, Formats, interval
from churn.http.language import chosen_language
from churn.ports import ModelCatalogue, TrafficCounts
from churn.use_cases.report_drift import ReportDrift
from churn.use_cases.report_performance import ReportPerformance

#: What fits into the width of a chart.
_LONGEST: Final = timedelta(days=400)


#: An estimate and its interval, which may be empty.
type Figure = tuple[str, str]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """How one column is shown."""

    label: str
    verdict: Verdict
    distance: str
    outside: float
    """Share of values beyond those that the model knows."""
    reference: str
    now: str
    order: tuple[bool, float]
    """What drifts first, then by how much."""


class MonitoringController(Controller):
    """Drift, and performance."""

    path = "/monitoring"

    @get()
    async def drift(
        self,
        request: ConsoleRequest,
        report_drift: NamedDependency[ReportDrift],
        catalogue: NamedDependency[ModelCatalogue],
        traffic: NamedDependency[TrafficCounts],
    ) -> Response[str]:
        """What the model is asked, compared with what it learnt from."""
        formats = Formats(chosen_language(request))
        since, until = _period(request)
        version = request.query_params.get("model", "")
        try:
            report = await report_drift(since=since, until=until, model_version=version or None)
        except EmptyPeriod:
            raise ValidationException(extra=[{"key": "until"}]) from None
        if report.until - report.since > _LONGEST:
            raise ValidationException(extra=[{"key": "since"}])
        manifest = await catalogue.manifest(report.model_version)
        binning = Binning(manifest)
        days = await traffic.by_day(binning, since=report.since, until=report.until)
        observed = sum(days.values(), start=binning.none())
        columns = [
            _column(
                formats, drift, binning.reference(position).counts, binning.column(observed, position).bins.tolist()
            )
            for position, drift in enumerate((*report.features, report.score))
        ]
        return page(
            request,
            "monitoring.html",
            "monitoring",
            report=report,
            until=report.until - timedelta(days=1),
            versions=[item.version for item in reversed(await catalogue.manifests())],
            drifting=[_name(formats, name) for name in report.drifting],
            columns=sorted(columns, key=lambda column: column.order),
            volume=_volume(report),
            busiest=max((day.predictions for day in report.volume), default=0),
            score=_score(
                report,
                manifest,
                {day: binning.column(counts, len(FEATURES)).bins for day, counts in days.items() if rows(counts)},
            ),
            base_rate=manifest.base_rate,
        )

    @get("/performance")
    async def performance(
        self, request: ConsoleRequest, report_performance: NamedDependency[ReportPerformance]
    ) -> Response[str]:
        """What the predictions were worth, by what is known of the people since."""
        formats = Formats(chosen_language(request))
        report = await report_performance()
        return page(
            request,
            "performance.html",
            "monitoring",
            report=report,
            versions=[(item, _bands(formats, item), _figures(formats, item)) for item in reversed(report.versions)],
            months=[(item, _figures(formats, item)) for item in reversed(report.months)],
            assumption=ASSUMPTION[formats.language],
        )


def _period(request: ConsoleRequest) -> tuple[date | None, date | None]:
    """The first day, and the day after the last one; None where the address has none that can be."""
    since, last = (day_of(request.query_params.get(name, "")) for name in ("since", "until"))
    return since, None if last is None or last >= date.max else last + timedelta(days=1)


def _name(formats: Formats, name: str) -> str:
    return TEXTS[formats.language]["monitoring"]["score"] if name == SCORE else LABELS[formats.language][name]


def _column(formats: Formats, drift: ColumnDrift, reference: tuple[int, ...], observed: list[int]) -> Column:
    before, now = _shares(reference), _shares(observed)
    highest = max([*before, *now]) or 1.0
    return Column(
        label=_name(formats, drift.name),
        verdict=drift.verdict,
        distance="" if drift.distance is None else formats.number(drift.distance, 2),
        outside=(drift.below_range or 0.0) + (drift.above_range or 0.0),
        reference=bars(before, highest=highest, class_="before"),
        now=bars(now, highest=highest, class_="now"),
        order=(drift.verdict is not Verdict.DRIFT, -(drift.distance or 0.0)),
    )


def _shares(counts: tuple[int, ...] | list[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _volume(report: DriftReport) -> str:
    length = (report.until - report.since).days
    counts = [0] * length
    for day in report.volume:
        counts[(day.day - report.since).days] = day.predictions
    highest = max(counts, default=0) or 1
    return bars([count / highest for count in counts], highest=1.0, class_="now")


def _score(report: DriftReport, manifest: Manifest, days: dict[date, Counts]) -> str:
    """The mean probability of each day, from how many predictions fell into which bin of the reference."""
    edges = np.array([0.0, *manifest.score_histogram.edges, 1.0])
    middles = (edges[:-1] + edges[1:]) / 2
    means = [(day, float(bins @ middles / bins.sum())) for day, bins in sorted(days.items())]
    highest = max([mean for _, mean in means] + [2 * manifest.base_rate])
    length = max((report.until - report.since).days - 1, 1)
    return trend(
        [((day - report.since).days / length, mean / highest) for day, mean in means],
        level=manifest.base_rate / highest,
    )


def _bands(formats: Formats, item: Performance) -> list[dict[str, object]]:
    if item.realised is None:
        return []
    return [
        {
            "risk": band.risk.value,
            "label": RISK_MESSAGES[formats.language][band.risk],
            "predictions": band.predictions,
            "predicted": formats.percent(band.predicted),
            "observed": formats.percent(band.observed.estimate),
            "interval": interval(formats.percent(band.observed.low), formats.percent(band.observed.high)),
            "chart": gauge(said=band.predicted, happened=band.observed),
        }
        for band in item.realised.bands
    ]


def _figure(value: Interval | None, write: Callable[[float], str]) -> Figure:
    return ("–", "") if value is None else (write(value.estimate), interval(write(value.low), write(value.high)))


def _figures(formats: Formats, item: Performance) -> list[tuple[str, Figure, Figure]]:
    """Name, realised and estimated, of each measure."""
    texts = TEXTS[formats.language]["monitoring"]
    realised, estimated = item.realised, item.estimated

    def number(value: Interval | None) -> Figure:
        return _figure(value, lambda part: formats.number(part, 2))

    def share(value: Interval | None) -> Figure:
        return _figure(value, formats.percent)

    return [
        (texts["roc_auc"], number(realised.roc_auc if realised else None), number(estimated.roc_auc)),
        (texts["precision"], share(realised.precision if realised else None), share(estimated.precision)),
        (texts["recall"], share(realised.recall if realised else None), share(estimated.recall)),
        (texts["brier"], number(realised.brier if realised else None), number(estimated.brier)),
    ]
