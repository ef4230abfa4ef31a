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


async def test_half_a_surrogate_pair_is_no_reason(client: httpx.AsyncClient) -> None:
    """JSON can spell it, but nothing can keep it: the field is named, as for any other value that is not allowed."""
    id_ = await predict(client)
    body = rb'{"decision":"accepted","reason":"a\ud800"}'
    response = await client.post(
        f"/predictions/{id_}/review", content=body, headers={"content-type": "application/json"}
    )
    assert [error["pointer"] for error in problem_of(response, 422)["errors"]] == ["/reason"]


@pytest.mark.parametrize(("name", "body"), [("outcome", {"left": True, "observed_on": day()}), ("review", REVIEW)])
async def test_what_is_not_there_cannot_be_followed(client: httpx.AsyncClient, name: str, body: dict[str, Any]) -> None:
    """An id that was never answered, and one that is none, are not found."""
    for id_ in (uuid_utils.compat.uuid7(), "first"):
        problem_of(await client.post(f"/predictions/{id_}/{name}", json=body), 404)


# Lists of outcomes.


def csv(*lines: str) -> dict[str, Any]:
    return {"content": "\r\n".join(lines), "headers": {"content-type": "text/csv; charset=utf-8"}}


@pytest.fixture
def reference() -> str:
    """A pseudonym that no other test uses."""
    return f"E-{uuid_utils.compat.uuid7().hex}"


async def predict_of(client: httpx.AsyncClient, reference: str) -> str:
    return (await client.post("/predict", json=LEAVER | {"employee_ref": reference})).json()["id"]


async def test_many_outcomes_come_in_one_list(client: httpx.AsyncClient, reference: str) -> None:
    """By prediction or by employee, whose predictions are all concerned; who has none is named by position."""
    first, second, alone = (
        await predict_of(client, reference),
        await predict_of(client, reference),
        await predict(client),
    )
    body = [
        {"employee_ref": "E-nobody", "left": True, "observed_on": day()},
        {"employee_ref": reference, "left": True, "observed_on": day()},
        {"prediction_id": alone, "left": False, "observed_on": day()},
    ]
    response = await client.post("/outcomes", json=body)
    assert response.status_code == 200, response.text
    assert response.json() == {"reports": 3, "recorded": 3, "unchanged": 0, "without_prediction": [0]}
    for id_, left in ((first, True), (second, True), (alone, False)):
        assert [outcome["left"] for outcome in (await followed(client, id_))["outcomes"]] == [left]
    assert (await client.post("/outcomes", json=body)).json() == {
        "reports": 3, "recorded": 0, "unchanged": 3, "without_prediction": [0],
    }  # fmt: skip


async def test_a_csv_says_the_same(client: httpx.AsyncClient, reference: str) -> None:
    """With titles in any order, empty cells for what is absent, and yes and no in French or English."""
    id_, other = await predict_of(client, reference), await predict(client)
    response = await client.post(
        "/outcomes",
        **csv(
            "\ufeffobserved_on,left,prediction_id,employee_ref",
            f"{day()},Oui,,{reference}",
            "",
            f'"{day()}", false ,{other},',
        ),
    )
    assert response.status_code == 200, response.text
    assert response.json() == {"reports": 2, "recorded": 2, "unchanged": 0, "without_prediction": []}
    found = [(await followed(client, each))["outcomes"][0]["left"] for each in (id_, other)]
    assert found == [True, False]


async def test_an_empty_list_is_fine(client: httpx.AsyncClient) -> None:
    """As JSON, and as CSV with titles only."""
    for request in ({"json": []}, csv("left,observed_on,prediction_id")):
        response = await client.post("/outcomes", **request)
        assert response.json() == {"reports": 0, "recorded": 0, "unchanged": 0, "without_prediction": []}


async def test_everything_wrong_with_a_list_is_said_at_once(client: httpx.AsyncClient, reference: str) -> None:
    """By row and field, with nothing recorded of the rows that are fine."""
    id_ = await predict_of(client, reference)
    fine = {"employee_ref": reference, "left": True, "observed_on": day()}
    nowhere = str(uuid_utils.compat.uuid7())
    wrong = [
        (fine | {"left": "no"}, ("/1/left", "invalid")),
        ({"left": True, "observed_on": day(), "employee_ref": "Anne Dupont"}, ("/2/employee_ref", "invalid")),
        ({"left": True}, ("/3/observed_on", "missing")),
        (fine | {"lefd": True}, ("/4/lefd", "unknown")),
        ("E-1", ("/5", "invalid")),
    ]
    problem = problem_of(await client.post("/outcomes", json=[fine, *(row for row, _ in wrong)]), 422)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [error for _, error in wrong]
    for rows, expected in (
        ([{"left": True, "observed_on": day()}, fine | {"prediction_id": id_}], [("/0", "invalid"), ("/1", "invalid")]),
        (
            [
                fine,
                fine | {"left": False},
                {"prediction_id": nowhere, "left": True, "observed_on": day(3)},
                {"prediction_id": id_, "left": True, "observed_on": day(-3)},
            ],
            [
                ("/1/observed_on", "contradiction"),
                ("/2/prediction_id", "unknown"),
                ("/2/observed_on", "in-future"),
                ("/3/observed_on", "before-prediction"),
            ],
        ),
    ):
        problem = problem_of(await client.post("/outcomes", json=rows), 422)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == expected
    assert (await followed(client, id_))["outcomes"] == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["left,when"], [("/observed_on", "missing"), ("/when", "unknown")]),
        (["left,left,observed_on"], [("/left", "duplicate")]),
        ([], [("", "malformed")]),
        (["left,observed_on", '"'], [("", "malformed")]),
        (["left,observed_on,employee_ref", "oui,2026-01-01", "perhaps,2026-01-01,E-1"],
         [("/0", "invalid"), ("/1/left", "invalid")]),
    ],
)  # fmt: skip
async def test_a_csv_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, lines: list[str], expected: list[tuple[str, str]]
) -> None:
    """A column is named by its title, a cell by its row and title."""
    problem = problem_of(await client.post("/outcomes", **csv(*lines)), 422)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", [("", "invalid")]),
        (b"[", [("", "malformed")]),
        (b"\xff", [("", "malformed")]),
        (b'[{"left":true,"left":false,"observed_on":"2026-01-01","employee_ref":"E-1"}]', [("/0/left", "duplicate")]),
        (b"[" + b",".join([b"{}"] * 10_001) + b"]", [("", "too-many")]),
    ],
)
async def test_a_list_that_is_none_is_refused(
    client: httpx.AsyncClient, body: bytes, expected: list[tuple[str, str]]
) -> None:
    """Noise, an object, a repeated key, too many rows."""
    response = await client.post("/outcomes", content=body, headers={"content-type": "application/json"})
    assert [(error["pointer"], error["code"]) for error in problem_of(response, 422)["errors"]] == expected


async def test_a_list_in_another_format_is_refused(client: httpx.AsyncClient) -> None:
    """Neither JSON nor CSV in UTF-8."""
    for media_type in ("application/xml", "text/csv; charset=latin-1"):
        response = await client.post("/outcomes", content=b"[]", headers={"content-type": media_type})
        problem_of(response, 415)
