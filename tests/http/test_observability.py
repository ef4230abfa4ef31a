"""Metrics: enough to run the service, and nothing about anybody."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
import uuid_utils.compat
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import LEAVER

type Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
type Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(client: httpx.AsyncClient) -> Samples:
    """Every sample of `/metrics`, by its name and its labels in alphabetical order."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def requests(found: Samples, method: str, route: str, status: int) -> float:
    labels = (("method", method), ("route", route), ("status", str(status)))
    return found.get(("churn_http_request_duration_seconds_count", labels), 0)


async def test_requests_are_counted_by_template_and_status(serve: Serve) -> None:
    """Each request counts once under the template of its route, never its path, and what no route matches as such."""
    async with serve() as client:
        for _ in range(2):
            await client.get(f"/predictions/{uuid_utils.compat.uuid7()}")
        await client.post("/predict", json=LEAVER)
        await client.post("/predict", json={})
        await client.get("/nobody@example.org")
        await client.request("BREW", "/predict")
        found = await samples(client)
    assert requests(found, "GET", "/predictions/{prediction_id}", 404) == 2
    assert requests(found, "POST", "/predict", 200) == 1
    assert requests(found, "POST", "/predict", 422) == 1
    assert requests(found, "GET", "unmatched", 404) == 1
    assert requests(found, "other", "/predict", 405) + requests(found, "other", "unmatched", 405) == 1
    assert "example.org" not in str(found)


async def test_predictions_are_counted_by_model_and_class(serve: Serve) -> None:
    """Each prediction counts once under its model's version and its class, and only when it was answered."""
    async with serve() as client:
        answers = [(await client.post("/predict", json=LEAVER)).json() for _ in range(3)]
        await client.post("/predict", json=LEAVER | {"age": 3})
        found = await samples(client)
    labels = (("model_version", answers[0]["model_version"]), ("prediction", "1"))
    assert found["churn_prediction_probability_count", labels] == 3
    assert found["churn_prediction_probability_sum", labels] == pytest.approx(3 * answers[0]["probability"])
    assert found["churn_prediction_probability_bucket", (("le", "1.0"), *labels)] == 3


async def test_flushes_are_measured(serve: Serve) -> None:
    """The history tells how long its commits take, how many rows they hold and how many wait."""
    async with serve() as client:
        for _ in range(3):
            await client.post("/predict", json=LEAVER)
        found = await samples(client)
    assert found["churn_history_flush_rows_sum", ()] == 3
    assert found["churn_history_flush_rows_count", ()] == 3
    assert found["churn_history_flush_duration_seconds_count", ()] == 3
    assert found["churn_history_flush_duration_seconds_sum", ()] > 0
    assert found["churn_history_queue_depth", ()] == 0
    assert found["churn_history_failures_total", ()] == 0


async def test_refused_sign_ins_are_counted_by_reason(serve: Serve) -> None:
    """A wrong credential and a throttled one count as auth failures, each under its reason."""
    async with serve(failed_logins_per_account=1) as client:
        for _ in range(2):
            await client.get("/predictions", auth=("root", "a wrong password"))
        found = await samples(client)
    reasons = {labels: value for (name, labels), value in found.items() if name == "churn_auth_failures_total"}
    assert sum(reasons.values()) == 2
    assert len(reasons) == 2
    assert "root" not in str(reasons)


async def test_metrics_may_need_an_account(serve: Serve) -> None:
    """When metrics are not public, a stranger is challenged and an account is not."""
    async with serve(metrics_public=False) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/metrics", auth=("", ""))).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/predictions", "/predictions?format=csv", "/models", "/monitoring/drift", "/users/me", "/v2/models/attrition"],
)
async def test_nobody_keeps_what_somebody_is_told(client: httpx.AsyncClient, path: str) -> None:
    """What is answered to somebody who has signed in says that it must not be stored."""
    assert (await client.get(path)).headers["cache-control"] == "no-store"


async def test_a_prediction_is_not_kept(client: httpx.AsyncClient) -> None:
    """Nor are predictions, of one person or of many."""
    for path, body in (("/predict", LEAVER), ("/predict/batch", [LEAVER])):
        assert (await client.post(path, json=body)).headers["cache-control"] == "no-store"


async def test_what_is_public_says_itself_how_long_it_is_good(stranger: httpx.AsyncClient) -> None:
    """What is told to everybody may be kept."""
    assert (await stranger.get("/docs")).headers["cache-control"] == "no-cache"
    assert "cache-control" not in (await stranger.get("/openapi.json")).headers


@pytest.mark.parametrize(
    "path", ["/predictions", "/predict", "/docs", "/openapi.json", "/livez", "/console/sign-in", "/no"]
)
async def test_no_answer_is_taken_for_what_it_is_not(client: httpx.AsyncClient, path: str) -> None:
    """Every answer tells browsers, once, to believe its type."""
    assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"
