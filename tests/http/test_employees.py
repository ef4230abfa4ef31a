"""`/employees/{employee_ref}`: what is kept of a person is handed out, and erased."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER
from tests.http.problem import problem_of


@pytest.fixture
def reference() -> str:
    """A pseudonym that no other test uses."""
    return f"E-{uuid_utils.compat.uuid7().hex}"


async def keep(client: httpx.AsyncClient, reference: str) -> str:
    """A prediction with an outcome and a review; its id."""
    id_: str = (await client.post("/predict", json=LEAVER | {"employee_ref": reference})).json()["id"]
    today = datetime.now(UTC).date().isoformat()
    await client.post(f"/predictions/{id_}/outcome", json={"left": True, "observed_on": today})
    await client.post(f"/predictions/{id_}/review", json={"decision": "accepted", "reason": "Entretien."})
    return id_


async def newest(admin: httpx.AsyncClient) -> dict[str, Any]:
    """What was done last; that other tests have got a password wrong is told some time later, and passed over."""
    entries = (await admin.get("/audit", params={"limit": 20})).json()["items"]
    return next(entry for entry in entries if not entry["action"].startswith("sign-in"))


async def test_everything_is_exported(client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str) -> None:
    """Each prediction with all that was added to it; the trail knows who asked, not for whom."""
    ids = [await keep(client, reference) for _ in range(2)]
    response = await client.get(f"/employees/{reference}/export")
    assert response.status_code == 200, response.text
    record = response.json()
    assert record["employee_ref"] == reference
    assert [item["id"] for item in record["predictions"]] == ids
    for item in record["predictions"]:
        remembered = (await client.get(f"/predictions/{item['id']}")).json()
        assert item["values"] == remembered["employee"]
        assert (item["outcomes"], item["reviews"]) == (remembered["outcomes"], remembered["reviews"])
        assert item["contributions"] == {share["feature"]: share["log_odds"] for share in remembered["contributions"]}
        assert item["explanation"].startswith("Le ")
    entry = await newest(admin)
    assert (entry["action"], entry["account"], entry["subject"]) == ("employee-exported", "anne", ids[-1])
    assert entry["details"] == {"predictions": 2}


async def test_it_is_explained_in_the_language_that_is_asked_for(client: httpx.AsyncClient, reference: str) -> None:
    """French unless English is asked for."""
    await keep(client, reference)
    for language, start in (("fr", "Ce fichier"), ("en", "This file")):
        response = await client.get(f"/employees/{reference}/export", headers={"accept-language": language})
        assert response.json()["about"][0].startswith(start)


async def test_everything_is_erased(client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str) -> None:
    """What is left is a tombstone, in the answer and in the trail; asked again, there is nothing."""
    id_ = await keep(client, reference)
    response = await admin.delete(f"/employees/{reference}")
    assert response.status_code == 200, response.text
    tombstone = response.json()
    removed = {"predictions": 1, "shadow_scores": 0, "outcomes": 1, "reviews": 1}
    assert tombstone == {"erased_at": tombstone["erased_at"], "account": "root", "removed": removed}
    entry = await newest(admin)
    assert (entry["action"], entry["account"], entry["subject"]) == ("employee-erased", "root", None)
    assert (entry["at"], entry["details"]) == (tombstone["erased_at"], removed)
    problem_of(await client.get(f"/predictions/{id_}"), 404)
    assert (await client.get("/predictions", params={"employee_ref": reference})).json()["items"] == []
    problem_of(await client.get(f"/employees/{reference}/export"), 404)
    problem_of(await admin.delete(f"/employees/{reference}"), 404)
    assert reference not in (await admin.get("/audit")).text


async def test_only_an_admin_erases(client: httpx.AsyncClient, reference: str) -> None:
    """An analyst may read the record, as they may read the history, and not erase it."""
    await keep(client, reference)
    problem_of(await client.delete(f"/employees/{reference}"), 403)
    assert (await client.get(f"/employees/{reference}/export")).status_code == 200


@pytest.mark.parametrize("reference", ["nobody", "Anne Dupont", "\0", "a" * 65, "%", "é"])
async def test_of_nobody_there_is_nothing(client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str) -> None:
    """Whatever the address; nothing is said to the trail."""
    before = (await newest(admin))["number"]
    problem_of(await client.get(f"/employees/{quote(reference)}/export"), 404)
    problem_of(await admin.delete(f"/employees/{quote(reference)}"), 404)
    assert (await newest(admin))["number"] == before


async def test_a_pseudonym_reaches_neither_metrics_nor_logs(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, reference: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both know the route, not whom it was about, whether there was something or not."""
    await keep(client, reference)
    for method, path in (("GET", f"{reference}/export"), ("DELETE", reference), ("DELETE", reference)):
        await admin.request(method, f"/employees/{path}")
    metrics = (await client.get("/metrics")).text
    assert 'route="/employees/{employee_ref}/export"' in metrics
    assert reference not in metrics
    captured = capfd.readouterr()
    assert reference not in captured.err + captured.out
