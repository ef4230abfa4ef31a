"""What Prometheus is told. No label and no value says anything about one employee."""

import asyncio
import math
import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import repeat
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

from churn.domain.alert import State
from churn.domain.drift import Verdict
from churn.domain.prediction import RISKS, Prediction, Risk
from churn.domain.predictions import Predictions
from churn.ports import HistoryFlush
from churn.use_cases.check_model import Check
from churn.use_cases.score_in_shadow import Outcome
from churn.use_cases.serving_model import Serving

_REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PROBABILITIES: Final = tuple(step / 10 for step in range(1, 11))
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class _Histogram(Histogram):
    """Observes many values at once, in the time of a few."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        """`observe` each of `amounts`."""
        # The library has nothing for many at once; a test holds this against its own `observe`.
        self._sum.inc(sum(amounts))
        for bucket, count in Counts(map(bisect_left, repeat(self._upper_bounds), amounts)).items():
            self._buckets[bucket].inc(count)


class _ByLabels(dict[tuple[object, ...], _Histogram]):
    """The children of a histogram: its own `labels()` takes as long as all else about a request's measurement."""

    def __init__(self, histogram: _Histogram) -> None:
        super().__init__()
        self._histogram = histogram

    def __missing__(self, labels: tuple[object, ...]) -> _Histogram:
        child = self[labels] = self._histogram.labels(*labels)
        return child


class Metrics:
    """The service's instruments.

    With several workers, prometheus_client keeps the values in files under `PROMETHEUS_MULTIPROC_DIR`, which
    `churn serve` sets, and any worker answers for all.
    """

    def __init__(self) -> None:
        # A registry of our own, so that an application can be built more than once in a process.
        self._registry = CollectorRegistry()
        request_seconds = _Histogram(
            "churn_http_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer; the count is the number of requests.",
            ("method", "route", "status"),
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        probability = _Histogram(
            "churn_prediction_probability",
            "Predicted probability of leaving; the count is the number of predictions.",
            ("model_version", "prediction"),
            buckets=_PROBABILITIES,
            registry=self._registry,
        )
        self._request_seconds = _ByLabels(request_seconds)
        self._probability = _ByLabels(probability)
        self._told: defaultdict[_Histogram, list[float]] = defaultdict(list)
        self.auth_failures = Counter("churn_auth_failures", "Sign-ins refused.", ("reason",), registry=self._registry)
        self.history_queue = Gauge(
            "churn_history_queue_depth",
            "Predictions waiting for their commit.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.history_flush_seconds = Histogram(
            "churn_history_flush_duration_seconds",
            "Time of one group commit.",
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        self.history_failures = Counter(
            "churn_history_failures", "Predictions whose commit was not confirmed.", registry=self._registry
        )
        self.history_flush_rows = Histogram(
            "churn_history_flush_rows",
            "Predictions in one group commit.",
            buckets=_ROWS,
            registry=self._registry,
        )
        self.model_info = Gauge(
            "churn_model_info",
            "1 for the version that this worker serves in that role.",
            ("version", "role"),
            registry=self._registry,
            multiprocess_mode="liveall",
        )
        self.model_lagging = Gauge(
            "churn_model_lagging",
            "1 while this worker serves another version than was decided, because it refused that one.",
            registry=self._registry,
            multiprocess_mode="liveall",
        )
        self.shadow_scores = Counter(
            "churn_shadow_scores",
            "Predictions offered to the shadow version, by what became of them.",
            ("outcome",),
            registry=self._registry,
        )
        # Of the last check, whichever worker made it.
        self.check_time = self._monitored(
            "churn_monitoring_check_timestamp_seconds", "When the model was last checked."
        )
        self.alarm = self._monitored(
            "churn_monitoring_alarm", "1: alarm; 0: all is well; NaN: there is too little to tell.", "subject"
        )
        self.drift_predictions = self._monitored(
            "churn_drift_predictions", "Predictions in the window that was checked for drift."
        )
        self.drift_distance = self._monitored(
            "churn_drift_distance",
            "Distance of the window from the reference, 0 to 1; NaN: too little to tell.",
            "column",
        )
        self.drift = self._monitored(
            "churn_drift_detected", "1: the column drifts; 0: it does not; NaN: too little to tell.", "column"
        )
        self.roc_auc = self._monitored(
            "churn_performance_roc_auc",
            "ROC AUC of the version that answers: realised, or estimated from its probabilities; NaN: not known.",
            "kind",
        )
        self.leavers = self._monitored(
            "churn_performance_leavers", "Of its resolved predictions, who left, and how many were expected to.", "kind"
        )
        self._serving = Serving(version=None, shadow=None, lagging=False)
        ProcessCollector(registry=self._registry)

    def _monitored(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self._registry, multiprocess_mode="mostrecent")

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered on `route`, a template, in `seconds`."""
        self._tell(self._request_seconds[method, route, status], seconds)

    def predicted(self, prediction: Prediction) -> None:
        """One prediction was made and stored."""
        labels = prediction.model_version, int(prediction.leaves)
        self._tell(self._probability[labels], prediction.score.probability)

    def predicted_many(self, predictions: Predictions) -> None:
        """So many predictions were made and stored."""
        leaves = predictions.risk == RISKS.index(Risk.HIGH)
        for label, those in ((1, leaves), (0, ~leaves)):
            if those.any():
                self._probability[predictions.model_version, label].observe_many(
                    predictions.scores.probability[those].tolist()
                )

    def _tell(self, histogram: _Histogram, amount: float) -> None:
        # All that one turn of the loop tells is observed at once, because one commit answers many requests.
        if not self._told:
            asyncio.get_running_loop().call_soon(self._observe)
        self._told[histogram].append(amount)

    def _observe(self) -> None:
        told, self._told = self._told, defaultdict(list)
        for histogram, amounts in told.items():
            histogram.observe_many(amounts)

    def history_flushed(self, flush: HistoryFlush) -> None:
        """Told by the history of each attempt to commit."""
        self.history_queue.set(flush.waiting)
        self.history_flush_rows.observe(flush.rows)
        self.history_flush_seconds.observe(flush.seconds)
        if flush.failed:
            self.history_failures.inc(flush.failed)

    def serving_changed(self, serving: Serving) -> None:
        """This worker serves with other versions from now on."""
        # Set to 0 and not removed: the files of several workers cannot forget a label.
        for value, state in ((0, self._serving), (1, serving)):
            for role, version in (("active", state.version), ("shadow", state.shadow)):
                if version is not None:
                    self.model_info.labels(version, role).set(value)
        self.model_lagging.set(serving.lagging)
        self._serving = serving

    def shadow_scored(self, outcome: Outcome, count: int) -> None:
        """So many predictions were scored in shadow, or were not."""
        self.shadow_scores.labels(outcome).inc(count)

    def checked(self, check: Check, at: datetime) -> None:
        """The model was checked."""
        self.check_time.set(at.timestamp())
        states = {State.OK: 0.0, State.ALARM: 1.0, State.UNKNOWN: math.nan}
        for finding in check.findings:
            self.alarm.labels(finding.subject.value).set(states[finding.state])
        self.drift_predictions.set(check.drift.predictions)
        verdicts = {Verdict.STABLE: 0.0, Verdict.DRIFT: 1.0}
        for column in (*check.drift.features, check.drift.score):
            self.drift_distance.labels(column.name).set(math.nan if column.distance is None else column.distance)
            self.drift.labels(column.name).set(verdicts.get(column.verdict, math.nan))
        realised = None if check.performance is None else check.performance.realised
        estimated = None if check.performance is None else check.performance.estimated
        for kind, figures in (("realised", realised), ("estimated", estimated)):
            area = None if figures is None else figures.roc_auc
            self.roc_auc.labels(kind).set(math.nan if area is None else area.estimate)
        self.leavers.labels("observed").set(math.nan if realised is None else realised.left)
        self.leavers.labels("expected").set(math.nan if realised is None else realised.expected)

    def expose(self) -> tuple[bytes, str]:
        """All metrics of all workers in Prometheus's text format, and its media type."""
        self._observe()
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
