"""Traces through HTTP, use case, model and SQL, told to OpenTelemetry; and nothing of it where nobody asks."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uuid_utils.compat
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import LEAVER
from tests.http.conftest import Serve

from churn.adapters.tracing import trace_statements

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where all spans of this process go: OpenTelemetry has one provider, which the service leaves as it finds it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
async def client(exporter: InMemorySpanExporter, serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that is traced, with a clean slate."""
    async with serve(tracing=True) as client:
        await client.get("/predictions", params={"limit": 1})  # signed in from here on
        exporter.clear()
        yield client


def told(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans of the client's trace, by name."""
    spans = [span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE]
    return {span.name: span for span in spans}


def said(span: ReadableSpan) -> str:
    """All that a span says but its identifiers and moments, among whose digits any four are found by chance."""
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    return repr((span.name, dict(span.attributes or {}), span.status.description, events))


def parents(spans: dict[str, ReadableSpan]) -> dict[str, str]:
    names = {span.context.span_id: span.name for span in spans.values()}
    return {
        name: names.get(span.parent.span_id, f"{span.parent.span_id:016x}")
        for name, span in spans.items()
        if span.parent is not None
    }


async def test_a_prediction_from_end_to_end(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """The request goes on the client's trace; in it are the use case, and in that the model and the commit."""
    assert (await client.post("/predict", json=LEAVER, headers=CONTEXT)).status_code == 200
    spans = told(exporter)
    # Whether the account has to be looked up depends on what was announced meanwhile.
    spans.pop("SELECT", None)
    assert parents(spans) == {
        "POST /predict": PARENT,
        "Authenticate": "POST /predict",
        "PredictAttrition": "POST /predict",
        "model": "PredictAttrition",
        "INSERT prediction": "PredictAttrition",
    }
    request = spans["POST /predict"]
    assert request.kind is SpanKind.SERVER
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    assert spans["model"].attributes is not None
    assert spans["model"].attributes["churn.rows"] == 1


async def test_sql_has_its_spans(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A statement is a span within what asked for it, with its text and without its parameters."""
    name = f"E-{uuid_utils.compat.uuid7().hex}"
    await client.get("/predictions", params={"employee_ref": name}, headers=CONTEXT)
    spans = told(exporter)
    assert parents(spans)["SELECT"] == "GET /predictions"
    select = spans["SELECT"].attributes
    assert select is not None
    assert select["db.system.name"] == "postgresql"
    assert "FROM prediction" in str(select["db.query.text"])


async def test_many_are_traced_too(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A batch has one span of the model per slice, and one of its `COPY`."""
    await client.post("/predict/batch", json=[LEAVER] * 3, headers=CONTEXT)
    spans = told(exporter)
    assert parents(spans)["model"] == "PredictWorkforce"
    assert parents(spans)["COPY prediction"] == "PredictWorkforce"
    assert spans["model"].attributes is not None
    assert spans["model"].attributes["churn.rows"] == 3


async def test_a_failure_is_told_by_its_class(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A use case that raises is marked, with the class of the error and without its message."""
    path = f"/predictions/{uuid_utils.compat.uuid7()}"
    assert (await client.get(path, headers=CONTEXT)).status_code == 404
    failed = told(exporter)["ReadPrediction"]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None
    assert failed.attributes == {"error.type": "UnknownPrediction"}
    assert not failed.events


async def test_a_failed_statement_ends_its_span(engine: AsyncEngine, exporter: InMemorySpanExporter) -> None:
    """A violated constraint is a failed span, with the class of the error and without the values that it names."""
    trace_statements(engine)
    statement = text("INSERT INTO account (username, role, password_hash, created_at) VALUES (:name, '', '', now())")
    exporter.clear()
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(statement, {"name": "nobody-knows"})
    (failed,) = [span for span in exporter.get_finished_spans() if span.name == "INSERT"]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"]
    assert "nobody-knows" not in failed.to_json()


async def test_no_span_names_anybody(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """Whatever is asked, no attribute has a pseudonym, an account, an address or a value of an employee."""
    name = f"E-{uuid_utils.compat.uuid7().hex}"
    employee = LEAVER | {"employee_ref": name, "revenu_mensuel": 4321.5}
    await client.post("/predict", json=employee)
    await client.post("/predict", json=employee, headers={"idempotency-key": name})
    await client.get("/predictions", params={"employee_ref": name, "account": "anne"})
    await client.get(f"/employees/{name}")
    await client.get(f"/{name}")
    told = "".join(map(said, exporter.get_finished_spans()))
    assert "POST /predict" in told
    for secret in (name, "4321", "anne", "127.0.0.1", "python-httpx"):
        assert secret not in told


async def test_each_request_has_a_trace_of_its_own(client: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """Requests at once do not get into each other's traces, though one commit stores them all."""
    await asyncio.gather(*(client.post("/predict", json=LEAVER) for _ in range(8)))
    traces: dict[int, list[str]] = {}
    for span in exporter.get_finished_spans():
        traces.setdefault(span.context.trace_id, []).extend({span.name} - {"SELECT"})
    predictions = [sorted(names) for names in traces.values() if "POST /predict" in names]
    assert len(predictions) == 8
    assert all(names == predictions[0] for names in predictions)


def test_nothing_is_imported_where_nobody_asks() -> None:
    """Without the setting neither the SDK nor what speaks to it is even loaded."""
    code = (
        "import sys; from churn.http.app import create_app; from churn.settings import Settings; "
        "create_app(Settings(database_url='postgresql+asyncpg://nobody@127.0.0.1:9/none')); "
        "print({'opentelemetry.sdk', 'churn.adapters.tracing', 'churn.http.tracing'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
