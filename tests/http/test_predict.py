"""`POST /predict`: what it answers, in which language, and why."""

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.builders import LEAVER
from tests.e2e.service import eventually
from tests.http.problem import problem_of

from churn.adapters.postgres.engine import create_engine
from churn.domain.employee import FEATURES
from churn.settings import Settings

type Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

MESSAGES = {
    "fr": {"low": "Risque de départ faible", "moderate": "Risque de départ modéré", "high": "Risque de départ élevé"},
    "en": {"low": "Low risk of leaving", "moderate": "Moderate risk of leaving", "high": "High risk of leaving"},
}


@st.composite
def employees(draw: st.DrawFn) -> dict[str, Any]:
    """Any employee that the contract accepts."""
    years, level = st.integers(0, 60), st.integers(1, 4)
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "age": st.integers(18, 70),
        "revenu_mensuel": st.floats(0, 10_000_000) | st.integers(0, 10_000_000),
        "distance_domicile_travail": st.floats(0, 20_000) | st.integers(0, 30),
        "satisfaction_environnement": level,
        "heures_supp": st.sampled_from(["Oui", "Non"]),
        "annees_promo": years,
        "satisfaction_equilibre": level,
        "pee": st.integers(0, 100),
        "poste_actuel": years,
        "anciennete": years,
        "exp_totale": st.floats(0, 60) | years,
    }
    employee = {name: draw(strategy) for name, strategy in strategies.items()}
    reference = draw(st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", fullmatch=True))
    return employee if reference is None else employee | {"employee_ref": reference}


async def predict(client: httpx.AsyncClient, body: object = LEAVER, **headers: str) -> dict[str, Any]:
    response = await client.post("/predict", json=body, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def test_the_employee_of_the_readme_leaves(client: httpx.AsyncClient) -> None:
    """The README's body answers 200 with prediction 1, a probability above 0.8 and a high risk."""
    answer = await predict(client)
    assert (answer["prediction"], answer["risk"], answer["message"]) == (1, "high", "Risque de départ élevé")
    assert answer["probability"] > 0.8


@given(employee=employees())
async def test_an_answer_agrees_with_itself(client: httpx.AsyncClient, employee: dict[str, Any]) -> None:
    """For any employee: prediction is 1 exactly when the probability reaches the threshold and the message says
    so, and the contributions, strongest first, sum with the intercept to the logit within 1e-9."""
    answer = await predict(client, employee)
    leaves = answer["probability"] >= answer["threshold"]
    assert answer["prediction"] == int(leaves)
    assert (answer["message"] == "Risque de départ élevé") == leaves
    assert answer["message"] == MESSAGES["fr"][answer["risk"]]

    contributions = answer["contributions"]
    assert {item["feature"]: item["value"] for item in contributions} == {name: employee[name] for name in FEATURES}
    sizes = [abs(item["log_odds"]) for item in contributions]
    assert sizes == sorted(sizes, reverse=True)
    probability = answer["probability"]
    logit = math.log(probability / (1 - probability))
    assert math.isclose(
        answer["intercept"] + math.fsum(item["log_odds"] for item in contributions), logit, abs_tol=1e-9
    )


async def test_risks_below_the_threshold_are_told_apart(client: httpx.AsyncClient) -> None:
    """Below the threshold the risk is moderate above the base rate, and low otherwise."""
    settled = LEAVER | {
        "age": 45, "revenu_mensuel": 12_000, "distance_domicile_travail": 2, "satisfaction_environnement": 4,
        "heures_supp": "Non", "satisfaction_equilibre": 3, "pee": 1, "poste_actuel": 7, "anciennete": 9,
        "exp_totale": 20,
    }  # fmt: skip
    answer = await predict(client, settled)
    assert (answer["prediction"], answer["risk"], answer["message"]) == (0, "low", "Risque de départ faible")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("de, en;q=0.5, fr;q=0.1", "en"),
        ("fr-CA, en;q=0.8", "fr"),
        ("de", "fr"),
        ("en;q=0", "fr"),
        ("", "fr"),
        ("\t;;q=,,en;q=many", "fr"),
    ],
)
async def test_speaks_the_language_that_is_asked_for(client: httpx.AsyncClient, accepted: str, language: str) -> None:
    """`Accept-Language` chooses French or English, for the message and the warnings; French is the default."""
    answer = await predict(client, **{"accept-language": accepted})
    assert answer["message"] == MESSAGES[language]["high"]
    words = {"fr": "Hors de la plage d'apprentissage", "en": "Outside the training range"}
    assert answer["warnings"][0]["detail"].replace("’", "'").startswith(words[language])


async def test_warns_of_what_the_model_has_not_seen(client: httpx.AsyncClient) -> None:
    """A value outside the training range is named, and scored as the value at its edge."""
    far, farther = [await predict(client, LEAVER | {"distance_domicile_travail": value}) for value in (100, 20_000)]
    assert [warning["field"] for warning in far["warnings"]] == ["distance_domicile_travail"]
    assert far["warnings"][0]["code"] == "out_of_training_range"
    assert far["probability"] == farther["probability"]
    near = await predict(client, LEAVER | {"distance_domicile_travail": 10})
    assert near["warnings"] == []


async def test_equal_employees_get_equal_answers_under_ids_of_their_own(client: httpx.AsyncClient) -> None:
    """Asking twice gives the same prediction, and two records of it."""
    first, second = await predict(client), await predict(client)
    assert first.pop("id") != second.pop("id")
    assert first == second


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
async def test_json_may_be_announced_in_more_than_one_way(client: httpx.AsyncClient, content_type: str) -> None:
    """The media type is compared without case, and UTF-8 may be named."""
    await predict(client, **{"content-type": content_type})


async def test_an_integer_may_be_written_with_a_point(client: httpx.AsyncClient) -> None:
    """18.0 and 1.8e1 are integers to JSON Schema, so they are 18 here; what is answered is the same."""
    plain = await predict(client)
    spelled = await client.post(
        "/predict",
        content=json.dumps(LEAVER).replace('"age": 18', '"age": 1.8e1').replace('"pee": 0', '"pee": 0.0'),
        headers={"content-type": "application/json"},
    )
    assert spelled.status_code == 200
    assert plain | {"id": None} == spelled.json() | {"id": None}


async def test_an_administrator_may_predict_too(admin: httpx.AsyncClient) -> None:
    """An admin may do all that an analyst may."""
    assert (await predict(admin))["prediction"] == 1


async def test_a_full_queue_refuses_before_anything_else(serve: Serve, settings: Settings) -> None:
    """While no more predictions can wait for their commit, one more is refused at once, whoever asks and whatever they
    send, with a problem that says when to come back; those that wait are answered."""
    engine = create_engine(settings.database_url, pool_size=2)
    async with serve(history_queue_size=1, history_flush_timeout=60) as client:
        assert (await client.post("/predict", json=LEAVER)).status_code == 200
        async with engine.begin() as connection:
            await connection.execute(text("LOCK TABLE prediction IN ACCESS EXCLUSIVE MODE"))
            waiting = [asyncio.create_task(client.post("/predict", json=LEAVER))]
            # The first is being committed, and cannot be; the second is the one that may wait.
            await eventually(lambda: _locked_out(connection), within=10)
            waiting.append(asyncio.create_task(client.post("/predict", json=LEAVER)))

            async def refused() -> httpx.Response | None:
                answer = await client.post("/predict", content=b"not JSON", auth=("nobody", "a wrong password"))
                return answer if answer.status_code == 503 else None

            refusal = await eventually(refused, within=10)
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    await engine.dispose()
    assert problem_of(refusal, 503)["type"] == "urn:churn:problem:unavailable"
    assert int(refusal.headers["retry-after"]) >= 1
    assert refusal.headers["cache-control"] == "no-store"


async def _locked_out(connection: AsyncConnection) -> bool:
    """Whether somebody waits for a lock."""
    return bool((await connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one())
