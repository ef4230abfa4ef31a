"""`GET /predictions` and `GET /predictions/{id}`: what was answered can be read again."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER

STAYER = LEAVER | {
    "age": 45, "revenu_mensuel": 12_000, "distance_domicile_travail": 2, "satisfaction_environnement": 4,
    "heures_supp": "Non", "satisfaction_equilibre": 3, "pee": 1, "poste_actuel": 7, "anciennete": 9,
    "exp_totale": 20,
}  # fmt: skip


@pytest.fixture
def reference() -> str:
    """A pseudonym that no other test uses: it tells this test's predictions from all others."""
    return f"E-{uuid_utils.compat.uuid7().hex}"


async def predict(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def find(client: httpx.AsyncClient, **criteria: object) -> dict[str, Any]:
    response = await client.get("/predictions", params=criteria)
    assert response.status_code == 200, response.text
    return response.json()


async def pages(client: httpx.AsyncClient, **criteria: object) -> AsyncIterator[list[dict[str, Any]]]:
    page = await find(client, **criteria)
    yield page["items"]
    while page["next_cursor"] is not None:
        page = await find(client, **criteria, cursor=page["next_cursor"])
        yield page["items"]


async def test_an_answer_can_be_read_again(client: httpx.AsyncClient, reference: str) -> None:
    """What was answered is found by its id, equal to the last bit, with its employee, its account and its time."""
    body = STAYER | {"exp_totale": 0.1 + 0.2, "employee_ref": reference}
    answered = await predict(client, body)
    response = await client.get(f"/predictions/{answered['id']}")
    assert response.status_code == 200
    remembered = response.json()
    assert remembered.pop("employee") == body
    assert remembered.pop("account") == "anne"
    assert (remembered.pop("outcomes"), remembered.pop("reviews"), remembered.pop("run_id")) == ([], [], None)
    # An UUIDv7 starts with its milliseconds.
    created_at = datetime.fromisoformat(remembered.pop("created_at"))
    made = datetime.fromtimestamp(int(answered["id"].replace("-", "")[:12], 16) / 1000, created_at.tzinfo)
    assert abs(created_at - made) < timedelta(seconds=1)
    assert created_at.utcoffset() == timedelta(0)
    assert remembered == answered


async def test_is_read_in_the_language_that_is_asked_for(client: httpx.AsyncClient) -> None:
    """The message is in the reader's language, whichever one it was answered in."""
    answered = await predict(client, LEAVER)
    response = await client.get(f"/predictions/{answered['id']}", headers={"accept-language": "en"})
    assert response.json()["message"] == "High risk of leaving"


async def test_pages_hold_each_prediction_once_newest_first(client: httpx.AsyncClient, reference: str) -> None:
    """The cursor leads through every prediction, also while new ones are made; the last page has none."""
    answered = [(await predict(client, LEAVER | {"employee_ref": reference}))["id"] for _ in range(5)]
    found = []
    async for page in pages(client, employee_ref=reference, limit=2):
        found.append([item["id"] for item in page])
        await predict(client, LEAVER | {"employee_ref": reference})
    newest_first = answered[::-1]
    assert found == [newest_first[:2], newest_first[2:4], newest_first[4:]]


async def test_every_criterion_must_hold(client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str) -> None:
    """A filter keeps exactly what meets all of it."""
    leaver = await predict(client, LEAVER | {"employee_ref": reference})
    stayer = await predict(client, STAYER | {"employee_ref": reference})
    by_admin = await predict(admin, LEAVER | {"employee_ref": reference})

    async def found(**criteria: object) -> list[str]:
        return [item["id"] for item in (await find(client, employee_ref=reference, **criteria))["items"]]

    everything = [by_admin["id"], stayer["id"], leaver["id"]]
    assert await found() == everything
    assert await found(prediction=1) == [by_admin["id"], leaver["id"]]
    assert await found(prediction=0) == [stayer["id"]]
    assert await found(account="root") == [by_admin["id"]]
    assert await found(account="anne", prediction=1) == [leaver["id"]]
    assert await found(account="nobody") == []
    assert await found(account="null") == []
    assert await found(model_version=leaver["model_version"]) == everything
    assert await found(model_version="another") == []


async def test_time_is_a_criterion(client: httpx.AsyncClient, reference: str) -> None:
    """`since` includes its moment and `until` does not; a date without a zone is in UTC."""
    answered = [(await predict(client, LEAVER | {"employee_ref": reference}))["id"] for _ in range(3)]
    moment = (await client.get(f"/predictions/{answered[1]}")).json()["created_at"]

    async def found(**criteria: str) -> list[str]:
        return [item["id"] for item in (await find(client, employee_ref=reference, **criteria))["items"]]

    assert await found(since=moment) == [answered[2], answered[1]]
    assert await found(until=moment) == [answered[0]]
    elsewhere = datetime.fromisoformat(moment) + timedelta(hours=2)
    assert await found(since=f"{elsewhere.replace(tzinfo=None).isoformat()}+02:00") == [answered[2], answered[1]]
    assert await found(since=datetime.fromisoformat(moment).replace(tzinfo=None).isoformat()) == answered[:0:-1]


async def test_a_page_has_at_most_what_is_asked_for(client: httpx.AsyncClient) -> None:
    """`limit` goes from 1 to 1000, and is 100 by default."""
    for _ in range(101):
        await predict(client, LEAVER)
    assert len((await find(client))["items"]) == 100
    assert len((await find(client, limit=1))["items"]) == 1
    assert len((await find(client, limit=1000))["items"]) > 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 0), ("limit", 1001), ("limit", "all"), ("limit", 10**30), ("prediction", 2), ("prediction", "yes"),
        ("cursor", "first"), ("since", "yesterday"), ("since", "2026-13-01T00:00:00Z"), ("until", "9" * 400),
        ("employee_ref", "Anne Dupont"), ("employee_ref", "E-1\n"), ("account", "Anne"), ("model_version", "../x"),
        ("model_version", "\0"), ("until", "null"), ("until", "0.5"), ("since", "1.0e-5"), ("cursor", "null"),
        ("prediction", "null"), ("limit", "null"),
    ],
)  # fmt: skip
async def test_a_criterion_that_makes_no_sense_is_named(client: httpx.AsyncClient, name: str, value: object) -> None:
    """A parameter that the contract does not allow is refused with its name, and without its value."""
    response = await client.get("/predictions", params={name: value})
    assert response.status_code == 422
    assert [error["parameter"] for error in response.json()["errors"]] == [name]
    if len(str(value)) > 4:
        assert str(value) not in response.text


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
@pytest.mark.parametrize("name", ["since", "until"])
async def test_the_ends_of_time_are_no_trap(client: httpx.AsyncClient, name: str, value: str) -> None:
    """A moment at either end of the calendar, in any zone, is answered or refused like any other."""
    response = await client.get("/predictions", params={name: value})
    assert response.status_code in {200, 422}


@pytest.mark.parametrize("account", ["anne", "root"])
async def test_who_asked_is_remembered(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str, account: str
) -> None:
    """Each prediction is remembered under the account that asked for it."""
    await predict({"anne": client, "root": admin}[account], LEAVER | {"employee_ref": reference})
    assert [item["account"] for item in (await find(client, employee_ref=reference))["items"]] == [account]
