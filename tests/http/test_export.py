"""`GET /predictions` in CSV and NDJSON: everything that meets the criteria."""

import csv
import io
import json

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER, prediction, stored_together
from tests.http.test_history import STAYER, find

from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.settings import Settings

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson", "json": "application/json"}


@pytest.fixture
async def reference(client: httpx.AsyncClient) -> str:
    """A pseudonym under which there are 300 leavers and 300 stayers."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    rows = [employee | {"employee_ref": reference} for _ in range(300) for employee in (LEAVER, STAYER)]
    response = await client.post("/predict/batch", json=rows)
    assert response.status_code == 200
    return reference


async def export(client: httpx.AsyncClient, wanted: str, **criteria: object) -> str:
    response = await client.get("/predictions", params={"format": wanted, **criteria})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == MEDIA_TYPES[wanted]
    assert response.headers["content-disposition"] == f'attachment; filename="predictions.{wanted}"'
    return response.content.decode()


async def test_ndjson_is_every_item_of_every_page(client: httpx.AsyncClient, reference: str) -> None:
    """The lines are the items of the pages, all of them, in their order."""
    lines = [json.loads(line) for line in (await export(client, "ndjson", employee_ref=reference)).splitlines()]
    assert lines == (await find(client, employee_ref=reference, limit=1000))["items"]
    assert len(lines) == 600


async def test_criteria_hold_and_a_page_size_does_not(client: httpx.AsyncClient, reference: str) -> None:
    """An export has what meets every criterion, whatever `limit` says, and can go on from an id."""
    criteria = {"employee_ref": reference, "prediction": 1}
    lines = [json.loads(line) for line in (await export(client, "ndjson", **criteria, limit=7)).splitlines()]
    assert len(lines) == 300
    rest = await export(client, "ndjson", **criteria, cursor=lines[99]["id"])
    assert [json.loads(line) for line in rest.splitlines()] == lines[100:]
    assert await export(client, "ndjson", employee_ref=reference, account="nobody") == ""


async def test_csv_has_the_same_values(client: httpx.AsyncClient, reference: str) -> None:
    """Each line of the CSV has the values of the item, numbers to the last bit."""
    lines = list(csv.DictReader(io.StringIO(await export(client, "csv", employee_ref=reference), newline="")))
    items = (await find(client, employee_ref=reference, limit=1000))["items"]
    assert len(lines) == len(items) == 600
    for line, item in zip(lines, items, strict=True):
        for name in ("id", "account", "risk", "message", "model_version"):
            assert line[name] == item[name]
        for name in ("probability", "threshold", "intercept", "prediction"):
            assert float(line[name]) == item[name]
        employee = item["employee"]
        assert {name: line[name] for name in employee} == {
            name: str(float(value) if isinstance(value, float) else value) for name, value in employee.items()
        }
        for contribution in item["contributions"]:
            assert float(line[f"log_odds_{contribution['feature']}"]) == contribution["log_odds"]


async def test_an_empty_csv_has_titles(client: httpx.AsyncClient) -> None:
    """A CSV of nothing is a line of titles."""
    (line,) = (await export(client, "csv", account="nobody")).splitlines()
    assert line.startswith("created_at,account,run_id,age,")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/csv", "csv"),
        ("application/x-ndjson", "ndjson"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("text/html, */*;q=0.8", "json"),
        ("", "json"),
        ("image/png", "json"),
        ("application/json;q=nan, text/csv;q=inf", "json"),
    ],
)
async def test_the_format_may_be_negotiated(client: httpx.AsyncClient, accept: str, wanted: str) -> None:
    """`Accept` chooses the format where `format` does not; JSON when it names none of ours."""
    response = await client.get("/predictions", params={"account": "nobody"}, headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPES[wanted]
    assert response.headers["vary"] == "Accept"
    told = await client.get("/predictions", params={"account": "nobody", "format": "json"}, headers={"accept": accept})
    assert told.headers["content-type"] == MEDIA_TYPES["json"]


@pytest.mark.parametrize("value", ["xml", "null", "CSV"])
async def test_another_format_is_refused(client: httpx.AsyncClient, value: str) -> None:
    """A format that there is not is 422, with the parameter's name."""
    response = await client.get("/predictions", params={"format": value})
    assert response.status_code == 422
    assert [error["parameter"] for error in response.json()["errors"]] == ["format"]


async def test_no_text_of_the_history_is_a_formula(client: httpx.AsyncClient, settings: Settings) -> None:
    """Whatever was stored, no cell of the CSV begins as a formula does, unless it is a number."""
    engine = create_engine(settings.database_url, pool_size=2)
    history = PostgresHistoryRepository(engine, queue_size=1, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    await history.append(prediction(account="=cmd", model_version="@SUM(1)", intercept=-1.5))
    await history.stop()
    await engine.dispose()
    response = await client.get("/predictions", params={"format": "csv"})
    (line,) = [line for line in csv.DictReader(io.StringIO(response.text, newline="")) if "cmd" in line["account"]]
    assert (line["account"], line["model_version"], line["intercept"]) == ("'=cmd", "'@SUM(1)", "-1.5")


async def test_a_run_is_a_criterion(client: httpx.AsyncClient, settings: Settings) -> None:
    """What a run of `churn score --save` stored is listed and exported by the run's id, which each row tells."""
    run_id, items = uuid_utils.compat.uuid7(), [prediction(), prediction()]
    engine = create_engine(settings.database_url, pool_size=2)
    history = PostgresHistoryRepository(engine, queue_size=1, flush_timeout=5.0, on_flush=lambda _: None)
    await stored_together(history, *items, run_id=run_id)
    await engine.dispose()
    expected = [(str(item.id), str(run_id)) for item in reversed(items)]
    page = (await find(client, run_id=run_id))["items"]
    assert [(item["id"], item["run_id"]) for item in page] == expected
    lines = csv.DictReader(io.StringIO(await export(client, "csv", run_id=run_id), newline=""))
    assert [(line["id"], line["run_id"]) for line in lines] == expected
    assert (await find(client, run_id=uuid_utils.compat.uuid7()))["items"] == []
    response = await client.get("/predictions", params={"run_id": "july"})
    assert response.status_code == 422
    assert [error["parameter"] for error in response.json()["errors"]] == ["run_id"]
