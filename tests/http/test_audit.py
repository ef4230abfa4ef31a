"""`GET /audit`: who did what."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER
from tests.http.conftest import ACCOUNTS, PASSWORD, connect, lifespan, new_database, serving
from tests.http.problem import problem_of

from churn.adapters.memory import MemoryClock
from churn.domain.account import Role
from churn.domain.audit import Action
from churn.domain.language import Language
from churn.http.app import create_app
from churn.http.console.words import TEXTS
from churn.settings import Settings


async def newest(admin: httpx.AsyncClient, limit: int = 20) -> list[dict[str, Any]]:
    response = await admin.get("/audit", params={"limit": limit})
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def told(admin: httpx.AsyncClient, action: str) -> dict[str, Any]:
    """The newest entry of `action`."""
    return next(entry for entry in await newest(admin) if entry["action"] == action)


@pytest.mark.parametrize("language", list(Language))
def test_the_console_has_words_for_every_action(language: Language) -> None:
    """Nobody has to guess what an entry means."""
    assert {action.replace("-", "_") for action in Action} <= TEXTS[language]["audit"].keys()


async def test_is_for_admins(client: httpx.AsyncClient) -> None:
    """An analyst may not read it."""
    problem_of(await client.get("/audit"), 403)


async def test_pages_hold_each_entry_once_newest_first(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """The cursor leads through the whole trail; each entry has a number, and the last page has no cursor."""
    for _ in range(5):
        id_ = (await client.post("/predict", json=LEAVER)).json()["id"]
        await client.post(f"/predictions/{id_}/review", json={"decision": "accepted", "reason": "oui"})
    numbers: list[int] = []
    page: dict[str, Any] = {"next_cursor": None}
    while page["next_cursor"] or not numbers:
        parameters = {"limit": 4} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
        page = (await admin.get("/audit", params=parameters)).json()
        numbers += [entry["number"] for entry in page["items"]]
    assert numbers == list(range(numbers[0], 0, -1))
    assert numbers[0] >= 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("cursor", 0), ("cursor", "x"), ("cursor", "null"), ("cursor", 2**63), ("limit", 1001), ("limit", "null")],
)
async def test_a_parameter_that_makes_no_sense_is_named(admin: httpx.AsyncClient, name: str, value: object) -> None:
    """As anywhere else."""
    problem = problem_of(await admin.get("/audit", params={name: value}), 422)
    assert [error["parameter"] for error in problem["errors"]] == [name]


async def test_accounts_are_audited(admin: httpx.AsyncClient) -> None:
    """Who created or changed which one, and what; never a password."""
    name = f"u{uuid_utils.compat.uuid7().hex[:20]}"
    secret = "une phrase de passe bien longue"
    await admin.post("/users", json={"username": name, "password": secret, "role": "analyst"})
    created = await told(admin, "account-created")
    assert (created["account"], created["subject"], created["details"]) == ("root", name, {"role": "analyst"})
    await admin.patch(f"/users/{name}", json={"password": secret + "!", "disabled": True})
    changed = await told(admin, "account-changed")
    assert (changed["account"], changed["subject"]) == ("root", name)
    assert changed["details"] == {"password": True, "disabled": True}
    await admin.patch(f"/users/{name}x", json={"disabled": True})
    assert await told(admin, "account-changed") == changed
    assert secret not in str(await newest(admin))


async def test_outcomes_and_reviews_are_audited(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """By prediction, or by number when they come in a list; without the pseudonym or the reason."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    id_ = (await client.post("/predict", json=LEAVER | {"employee_ref": reference})).json()["id"]
    today = datetime.now(UTC).date().isoformat()
    await client.post(f"/predictions/{id_}/outcome", json={"left": False, "observed_on": today})
    entry = await told(admin, "outcomes-recorded")
    assert (entry["account"], entry["subject"], entry["details"]) == ("anne", id_, {"recorded": 1})
    await client.post("/outcomes", json=[{"employee_ref": reference, "left": True, "observed_on": today}])
    entry = await told(admin, "outcomes-recorded")
    assert (entry["subject"], entry["details"]) == (None, {"reports": 1, "recorded": 1})
    await client.post(f"/predictions/{id_}/review", json={"decision": "dismissed", "reason": "Mme Dupont a dit non"})
    entry = await told(admin, "prediction-reviewed")
    assert (entry["account"], entry["subject"], entry["details"]) == ("anne", id_, {"decision": "dismissed"})
    text = str(await newest(admin))
    assert reference not in text
    assert "Dupont" not in text


@pytest.mark.parametrize("wanted", ["csv", "ndjson"])
async def test_exports_of_the_history_are_audited(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, wanted: str
) -> None:
    """Who took what away, by which criteria, but not of whom; looking at a page is no export."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    criteria = {"employee_ref": reference, "since": "2026-01-01T00:00:00", "prediction": 1, "account": "anne"}
    assert (await client.get("/predictions", params=criteria | {"format": wanted})).status_code == 200
    entry = await told(admin, "history-exported")
    assert entry["account"] == "anne"
    assert entry["details"] == {
        "since": "2026-01-01T00:00:00Z", "leaves": True, "account": "anne", "one_employee": True,
    }  # fmt: skip
    await client.get("/predictions", params=criteria)
    assert await told(admin, "history-exported") == entry
    assert reference not in str(await newest(admin))


@pytest.fixture
async def guessed(postgres_url: str, migrations_dir: str) -> Settings:
    """A database of its own: other tests get passwords wrong too, and the trail is told some time later."""
    return await new_database(postgres_url, migrations_dir, f"guessed_{uuid_utils.compat.uuid7().hex}")


async def refusals(settings: Settings) -> list[dict[str, Any]]:
    """What the trail says of sign-ins that were refused, newest first."""
    app = create_app(settings)
    async with lifespan(app), connect(app, Role.ADMIN) as admin:
        return [entry for entry in await newest(admin, 1000) if entry["action"].startswith("sign-in")]


async def test_refused_sign_ins_are_audited(guessed: Settings) -> None:
    """At the latest when the service stops, with the account but not the password that was tried."""
    async with serving(guessed, failed_logins_per_account=2) as client:
        for _ in range(4):
            await client.get("/users/me", auth=(ACCOUNTS[Role.ADMIN], "not " + PASSWORD))
    entries = await refusals(guessed)
    assert {(entry["account"], entry["subject"]) for entry in entries} == {(None, "root")}
    times = Counter[str]()
    for entry in entries:
        times[entry["action"]] += entry["details"]["times"]
    assert times == {"sign-in-failed": 2, "sign-in-throttled": 2}
    assert "not " + PASSWORD not in str(entries)


async def test_many_bad_sign_ins_are_few_entries(guessed: Settings) -> None:
    """500 in one minute, each under another name, leave two entries of a kind, the first and the others, and their
    number."""
    clock = MemoryClock()  # however long the machine takes
    app = create_app(guessed, clock=clock)
    async with lifespan(app), connect(app, Role.ANALYST) as client:
        responses = await asyncio.gather(*(client.get("/users/me", auth=(f"guess{n}", "x")) for n in range(500)))
        clock.advance(30)
        assert (await client.get("/users/me")).status_code == 200
    assert {response.status_code for response in responses} <= {401, 429, 503}
    entries = await refusals(guessed)
    assert 1 <= max(Counter(entry["action"] for entry in entries).values()) <= 2
    answered = sum(response.status_code != 503 for response in responses)
    assert sum(entry["details"]["times"] for entry in entries) == answered
