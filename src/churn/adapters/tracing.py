"""Spans of the use cases, the model, the history and SQL, by OpenTelemetry. Imported only where traces are wanted.

No attribute holds a value of a request, a name or a message of an error: statements have parameters in their place,
and of an error only its class is told.
"""

from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from inspect import iscoroutinefunction
from typing import Any, Final, override
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.domain.employee import Employee
from churn.domain.prediction import ModelInfo, Prediction, Score
from churn.domain.predictions import Predictions, ScoreMatrix
from churn.ports import Predictor

_SQL: Final[dict[str, AttributeValue]] = {"db.system.name": "postgresql"}


def provide_tracer() -> None:
    """Send spans where the variables `OTEL_…` say, unless whoever started the process has seen to that already."""
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    named = Resource({"service.name": "churn", "service.version": version("churn")})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(
    name: str, attributes: dict[str, AttributeValue] | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span]:
    """A span around a block; of an error only the class is told."""
    tracer = trace.get_tracer("churn")
    with tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            _failed(current, error)
            raise


def _failed(current: Span, error: BaseException) -> None:
    current.set_attribute("error.type", type(error).__qualname__)
    current.set_status(StatusCode.ERROR)


def traced_use_case(use_case: type) -> type:
    """`use_case`, each call of which is a span of its name."""

    @wraps(use_case.__call__)
    async def call(self: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the use case takes
        with span(use_case.__name__):
            return await use_case.__call__(self, *arguments, **named)

    return type(use_case.__name__, (use_case,), {"__call__": call})


class TracedPredictor:
    """Fills the port `Predictor` with another one, each score of which is a span."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @property
    def info(self) -> ModelInfo:
        """See the port."""
        return self._predictor.info

    def predict(self, employee: Employee) -> Score:
        """See the port."""
        with self._span(1):
            return self._predictor.predict(employee)

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        """See the port."""
        with self._span(len(features)):
            return self._predictor.predict_matrix(features)

    def _span(self, rows: int) -> Any:  # noqa: ANN401 - a context manager
        return span("model", {"churn.model.version": self._predictor.info.version, "churn.rows": rows})


class TracedModelCatalogue(JoblibModelCatalogue):
    """Loads models whose scores are spans."""

    @override
    async def load(self, version: str) -> Predictor:
        return TracedPredictor(await super().load(version))


class TracedHistoryRepository(PostgresHistoryRepository):
    """Each wait for a commit is a span: a group commit is of many requests, so none of them can have it for its own."""

    @override
    async def append(self, prediction: Prediction) -> None:
        with span("INSERT prediction", _SQL | {"db.operation.name": "INSERT"}, kind=SpanKind.CLIENT):
            await super().append(prediction)

    @override
    async def append_many(self, blocks: AsyncIterable[Predictions], *, run_id: UUID | None = None) -> bool:
        with span("COPY prediction", _SQL | {"db.operation.name": "COPY"}, kind=SpanKind.CLIENT):
            return await super().append_many(blocks, run_id=run_id)


def traced(made: object) -> type | None:
    """What to make in place of `made`, so that it is traced; None if it need not be."""
    if made is JoblibModelCatalogue:
        return TracedModelCatalogue
    if made is PostgresHistoryRepository:
        return TracedHistoryRepository
    if isinstance(made, type) and made.__module__.startswith("churn.use_cases.") and iscoroutinefunction(made.__call__):
        return traced_use_case(made)
    return None


def trace_statements(engine: AsyncEngine) -> None:
    """Let each statement of `engine` be a span."""

    def begin(_: object, __: object, statement: str, ___: object, context: Any, ____: bool) -> None:  # noqa: ANN401
        operation = statement.split(None, 1)[0].upper() if statement.strip() else "SQL"
        attributes = _SQL | {"db.operation.name": operation, "db.query.text": statement}
        context.churn_span = trace.get_tracer("churn").start_span(
            operation, kind=SpanKind.CLIENT, attributes=attributes
        )

    def end(_: object, __: object, ___: str, ____: object, context: Any, _____: bool) -> None:  # noqa: ANN401
        context.churn_span.end()

    def fail(context: ExceptionContext) -> None:
        current = getattr(context.execution_context, "churn_span", None)
        if current is not None:
            _failed(current, context.original_exception)
            current.end()

    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    event.listen(engine.sync_engine, "after_cursor_execute", end)
    event.listen(engine.sync_engine, "handle_error", fail)
