"""`/monitoring` over the real service."""

import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.builders import LEAVER
from tests.e2e.service import eventually
from tests.http.conftest import connect, lifespan, new_database
from tests.http.problem import problem_of

from churn.domain.account import Role
from churn.domain.employee import FEATURES
from churn.http.app import create_app
from churn.settings import Settings

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
async def monitored(postgres_url: str, migrations_dir: str) -> Settings:
    """A database of its own, in which nobody else predicts."""
    return await new_database(postgres_url, migrations_dir, "monitored")


@pytest.fixture(scope="module")
async def own(monitored: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The analyst of its service."""
    app = create_app(monitored)
    async with lifespan(app), connect(app, Role.ANALYST) as client:
        for _ in range(120):
            response = await client.post("/predict", json=LEAVER)
            assert response.status_code == 200
        yield client


async def drift(client: httpx.AsyncClient, **query: str) -> Any:
    response = await client.get("/monitoring/drift", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_what_is_predicted_is_compared_with_the_reference(own: httpx.AsyncClient) -> None:
    """One employee a hundred times over is not what the model learnt from, and the report says where."""
    report = await drift(own)
    assert report["verdict"] == "drift"
    assert report["predictions"] == 120
    assert report["until"] == (TODAY + timedelta(days=1)).isoformat()
    assert [column["name"] for column in report["features"]] == list(FEATURES)
    income = report["features"][FEATURES.index("revenu_mensuel")]
    assert income["verdict"] == "drift"
    assert income["distance"] > 0.8
    assert income["reference"] == 1470
    assert report["score"]["name"] == "probability"
    assert report["without_employee_ref"] == 1.0
    assert report["volume"] == [{"day": TODAY.isoformat(), "predictions": 120}]


async def test_a_period_without_predictions_gives_no_verdict(own: httpx.AsyncClient) -> None:
    """Yesterday nothing was asked: there is no verdict, and no error."""
    report = await drift(own, until=TODAY.isoformat())
    assert (report["verdict"], report["predictions"], report["volume"]) == ("insufficient_data", 0, [])
    assert {column["verdict"] for column in report["features"]} == {"insufficient_data"}
    report = await drift(own, since="0001-01-01", until="9999-12-31")
    assert report["predictions"] == 120


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ({"since": "yesterday"}, ["since"]),
        ({"since": "2026", "until": "2026-03-01T00:00:00Z"}, ["since", "until"]),
        ({"since": "2026-02-30"}, ["since"]),
        ({"since": "0000-01-01", "until": "2026-13-01"}, ["since", "until"]),
        ({"until": "null"}, ["until"]),
        ({"since": "٢٠٢٦-03-01"}, ["since"]),
        ({"since": "2026-03-02", "until": "2026-03-02"}, ["until"]),
        ({"since": "2026-03-02", "until": "2026-03-01"}, ["until"]),
        ({"model_version": "../models"}, ["model_version"]),
    ],
)
async def test_what_is_no_period_is_named(own: httpx.AsyncClient, query: dict[str, str], parameters: list[str]) -> None:
    """Each parameter at fault, and never its value."""
    problem = problem_of(await own.get("/monitoring/drift", params=query), 422)
    assert [error["parameter"] for error in problem["errors"]] == parameters


@pytest.mark.parametrize("version", ["nothing", "null"])
async def test_a_version_that_is_not_there_is_not_found(own: httpx.AsyncClient, version: str) -> None:
    """Whatever it is called."""
    problem_of(await own.get("/monitoring/drift", params={"model_version": version}), 404)


async def test_only_accounts_may_ask(stranger: httpx.AsyncClient) -> None:
    """The report says much about the employees as a whole."""
    problem_of(await stranger.get("/monitoring/drift"), 401)


async def test_what_is_not_known_yet_is_estimated(own: httpx.AsyncClient) -> None:
    """Predictions of today can only be estimated, and what the estimate assumes is said in the reader's language."""
    response = await own.get("/monitoring/performance")
    assert response.status_code == 200, response.text
    report = response.json()
    assert report["as_of"] == TODAY.isoformat()
    assert report["horizon_months"] == 12
    (total,), (month,) = report["versions"], report["months"]
    assert month["month"] == TODAY.replace(day=1).isoformat()
    assert (total["predictions"], total["pending"], total["realised"]) == (120, 120, None)
    probability = (await own.get("/predictions", params={"limit": 1})).json()["items"][0]["probability"]
    assert total["estimated"]["precision"]["estimate"] == pytest.approx(probability)
    assert "suppose" in report["assumption"]
    response = await own.get("/monitoring/performance", headers={"accept-language": "en"})
    assert "takes the probabilities to be right" in response.json()["assumption"]


async def test_reviews_are_in_the_report(own: httpx.AsyncClient) -> None:
    """By month, beside what became of the predictions."""
    (item,) = (await own.get("/predictions", params={"limit": 1})).json()["items"]
    review = {"decision": "overridden", "reason": "He has just been promoted."}
    assert (await own.post(f"/predictions/{item['id']}/review", json=review)).status_code == 200
    (month,) = (await own.get("/monitoring/performance")).json()["months"]
    assert (month["accepted"], month["overridden"], month["dismissed"]) == (0, 1, 0)


async def test_a_period_or_version_without_predictions_is_empty(own: httpx.AsyncClient) -> None:
    """A version whose predictions are gone, or that never was, has nothing to report."""
    for query in ({"model_version": "nothing"}, {"model_version": "null"}, {"until": "2020-01-01"}):
        report = (await own.get("/monitoring/performance", params=query)).json()
        assert (report["versions"], report["months"]) == ([], [])
    query = {"since": "2026-03-02", "until": "2026-03-01"}
    problem = problem_of(await own.get("/monitoring/performance", params=query), 422)
    assert [error["parameter"] for error in problem["errors"]] == ["until"]


# What Prometheus and Grafana see.


def names(exposition: str) -> set[str]:
    """Every series that there is, or will be once there is something to tell."""
    found = set()
    for _, _, name, kind in (line.split() for line in exposition.splitlines() if line.startswith("# TYPE ")):
        found |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if kind == "histogram" else {name}
    return found


def values(exposition: str) -> dict[str, float]:
    """Each sample of the exposition by its name and labels."""
    samples = [line.rsplit(" ", 1) for line in exposition.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


async def checked(settings: Settings) -> str:
    """The metrics of a service of its own, once it has checked the model."""
    app = create_app(replace(settings, monitor_interval=0.05))
    async with lifespan(app), connect(app, Role.ANALYST) as client:

        async def samples() -> str | None:
            told = (await client.get("/metrics")).text
            return told if values(told)["churn_monitoring_check_timestamp_seconds"] else None

        return await eventually(samples, within=30)


async def test_the_gauges_are_those_of_the_last_check(own: httpx.AsyncClient, monitored: Settings) -> None:
    """What the service finds by itself, without being asked, is in the metrics; what it cannot tell is not a number."""
    samples = values(await checked(monitored))
    report = await drift(own)
    assert samples['churn_monitoring_alarm{subject="drift"}'] == 1
    assert math.isnan(samples['churn_monitoring_alarm{subject="performance"}'])
    assert samples["churn_drift_predictions"] == report["predictions"]
    for column in (*report["features"], report["score"]):
        labels = f'{{column="{column["name"]}"}}'
        assert samples[f"churn_drift_distance{labels}"] == pytest.approx(column["distance"])
        assert samples[f"churn_drift_detected{labels}"] == (column["verdict"] == "drift")
    assert math.isnan(samples['churn_performance_roc_auc{kind="realised"}'])
    assert math.isnan(samples['churn_performance_leavers{kind="observed"}'])


async def test_every_metric_in_the_documentation_is_there(own: httpx.AsyncClient, monitored: Settings) -> None:
    """Rules and dashboard ask for nothing that the service does not expose."""
    assert own
    exposed = names(await checked(monitored))
    for name in ("rules.yml", "dashboard.json"):
        text = (Path(__file__).parents[2] / "docs" / "monitoring" / name).read_text(encoding="utf-8")
        named = set(re.findall(r"\bchurn_[a-z_]+", text))
        assert named
        assert named <= exposed, named - exposed
