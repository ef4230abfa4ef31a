"""`POST /predictions/{id}/outcome` and `/review`: what happened, and what a person makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER
from tests.http.problem import problem_of

REVIEW = {"decision": "overridden", "reason": "Entretien : un changement de poste est convenu."}


def day(offset: int = 0) -> str:
    """The day that is `offset` days from now."""
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


async def predict(client: httpx.AsyncClient) -> str:
    response = await client.post("/predict", json=LEAVER)
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def followed(client: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    return (await client.get(f"/predictions/{id_}")).json()


async def test_an_outcome_is_kept_and_shown(client: httpx.AsyncClient) -> None:
    """The answer is what counts, with who and when, and the prediction shows it."""
    id_ = await predict(client)
    response = await client.post(f"/predictions/{id_}/outcome", json={"left": True, "observed_on": day()})
    assert response.status_code == 200, response.text
    outcome = response.json()
    assert outcome | {"recorded_at": None} == {
        "prediction_id": id_, "left": True, "observed_on": day(), "recorded_at": None, "account": "anne",
    }  # fmt: skip
    assert (await followed(client, id_))["outcomes"] == [outcome]


async def test_a_changed_outcome_keeps_both(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """The newest counts; saying it again changes nothing, whoever says it."""
    id_ = await predict(client)
    for left, by in ((False, client), (True, admin), (True, client)):
        response = await by.post(f"/predictions/{id_}/outcome", json={"left": left, "observed_on": day()})
        assert response.status_code == 200
    assert response.json()["account"] == "root"
    found = (await followed(client, id_))["outcomes"]
    assert [(outcome["left"], outcome["account"]) for outcome in found] == [(True, "root"), (False, "anne")]


async def test_a_review_is_kept_and_shown(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """In the name of who is signed in; a change of mind keeps both, and the newest comes first."""
    id_ = await predict(client)
    first = await client.post(f"/predictions/{id_}/review", json=REVIEW)
    assert first.status_code == 200, first.text
    assert first.json() | {"reviewed_at": None} == REVIEW | {
        "prediction_id": id_, "reviewed_at": None, "account": "anne",
    }  # fmt: skip
    assert (await client.post(f"/predictions/{id_}/review", json=REVIEW)).json() == first.json()
    second = await admin.post(f"/predictions/{id_}/review", json=REVIEW | {"decision": "accepted"})
    assert (await followed(client, id_))["reviews"] == [second.json(), first.json()]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"observed_on": day(2)}, [("/observed_on", "in-future")]),
        ({"observed_on": day(-2)}, [("/observed_on", "before-prediction")]),
        ({"observed_on": "9999-12-31"}, [("/observed_on", "in-future")]),
        ({"observed_on": "0001-01-01"}, [("/observed_on", "before-prediction")]),
        ({"observed_on": "2026-02-30"}, [("/observed_on", "invalid")]),
        ({"left": "yes", "observed_on": 5}, [("/left", "invalid"), ("/observed_on", "invalid")]),
        ({"lefd": True}, [("/lefd", "unknown")]),
    ],
)
async def test_an_outcome_that_cannot_be_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    """Each field that is wrong is named, also in English, and nothing is recorded."""
    id_ = await predict(client)
    body = {"left": True, "observed_on": day()} | changes
    response = await client.post(f"/predictions/{id_}/outcome", json=body, headers={"accept-language": "en"})
    problem = problem_of(response, 422)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == errors
    assert (await followed(client, id_))["outcomes"] == []


async def test_a_day_is_asked_for_in_words(client: httpx.AsyncClient) -> None:
    """What the field must be is said in the reader's language."""
    id_ = await predict(client)
    for language, text in (("fr", "Doit être une date AAAA-MM-JJ."), ("en", "Must be a date YYYY-MM-DD.")):
        response = await client.post(
            f"/predictions/{id_}/outcome",
            json={"left": True, "observed_on": "yesterday"},
            headers={"accept-language": language},
        )
        assert [error["detail"] for error in response.json()["errors"]] == [text]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"decision": "maybe"}, "/decision"), ({"reason": ""}, "/reason"), ({"reason": "a\0b"}, "/reason"),
     ({"reason": "a" * 501}, "/reason"), ({"account": "root"}, "/account")],
)  # fmt: skip
async def test_a_review_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any], pointer: str
) -> None:
    """The field is named; nobody can review in somebody else's name."""
    id_ = await predict(client)
    problem = problem_of(await client.post(f"/predictions/{id_}/review", json=REVIEW | changes), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert (await followed(client, id_))["reviews"] == []


@pytest.mark.parametrize(("name", "body"), [("outcome", {"left": True, "observed_on": day()}), ("review", REVIEW)])
async def test_what_is_not_there_cannot_be_followed(client: httpx.AsyncClient, name: str, body: dict[str, Any]) -> None:
    """An id that was never answered, and one that is none, are not found."""
    for id_ in (uuid_utils.compat.uuid7(), "first"):
        problem_of(await client.post(f"/predictions/{id_}/{name}", json=body), 404)
