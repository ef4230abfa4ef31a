"""The history in the console, and what follows a prediction."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.builders import LEAVER
from tests.http.conftest import ACCOUNTS, PASSWORD
from tests.http.console import Browser

from churn.domain.account import Role

STAYER = LEAVER | {"heures_supp": "Non", "revenu_mensuel": 9000, "age": 45, "satisfaction_equilibre": 3, "pee": 1}


@pytest.fixture(scope="module")
async def browser(app):
    browser = Browser(app)
    await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
    return browser


@pytest.fixture(scope="module")
async def predictions(client):
    """Sixty of one person, the newest last, of which every third is of low risk; their ids."""
    return [
        (await client.post("/predict", json=(LEAVER if n % 3 else STAYER) | {"employee_ref": "E-history"})).json()["id"]
        for n in range(60)
    ]


def ids(page):
    return re.findall(r'<a href="/console/predictions/([0-9a-f-]{36})"', page.text)


async def pages(browser, path):
    """Every page from `path` on, by the link to the older ones."""
    while path:
        page = await browser.get(path)
        assert page.status_code == 200
        yield page
        older = re.search(r'<a href="([^"]+)" rel="next">', page.text)
        path = older and html.unescape(older[1])


async def test_pages_lead_through_all_that_is_found(browser, predictions):
    """Newest first, each once, and back to the newest in one step."""
    found = [page async for page in pages(browser, "/console/history?ref=E-history")]
    assert [len(ids(page)) for page in found] == [25, 25, 10]
    assert [identifier for page in found for identifier in ids(page)] == predictions[::-1]
    assert 'href="/console/history?ref=E-history">← Les plus récentes' in found[-1].text


async def test_what_is_looked_for_is_in_the_address(browser, predictions):
    """Every criterion holds, and the form shows it."""
    today = datetime.now(UTC).date()
    query = f"ref=E-history&leaves=0&since={today - timedelta(days=1)}&until={today}&account=anne"
    found = [page async for page in pages(browser, f"/console/history?{query}")]
    assert [identifier for page in found for identifier in ids(page)] == predictions[::3][::-1]
    for text in ('value="E-history"', f'value="{today}"', 'value="anne"', '<option value="0" selected>'):
        assert text in found[0].text
    assert "Tout afficher</a>" in (await browser.get(f"/console/history?{query}")).text
    for other in (f"until={today - timedelta(days=1)}", "account=root", "model=another"):
        page = await browser.get(f"/console/history?ref=E-history&{other}")
        assert ids(page) == []
        assert "Aucune prédiction ne correspond." in page.text


async def test_an_id_leads_to_its_prediction(browser, predictions):
    """Pasted into the search, it needs no further step; one that is no prediction's finds nothing."""
    answer = await browser.get(f"/console/history?ref={predictions[0]}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/predictions/{predictions[0]}")
    assert "Aucune" in (await browser.get("/console/history?ref=01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4")).text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("ref=<b>", "ref"),
        ("ref=a%00", "ref"),
        ("since=yesterday", "since"),
        ("until=9999-12-31", "until"),
        ("until=2026-02-30", "until"),
        ("leaves=2", "leaves"),
        ("account=A:B", "account"),
        ("model=%00", "model"),
    ],
)
async def test_what_cannot_be_looked_for_is_marked(browser, query, field):
    """The page says so, finds nothing, and shows the text as text."""
    page = await browser.get(f"/console/history?{query}")
    assert page.status_code == 200
    assert ids(page) == []
    assert 'role="alert"' in page.text
    assert "<b>" not in page.text
    if field in {"ref", "since", "until", "account"}:
        assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', page.text)


@pytest.mark.parametrize("before", ["", "x", "00000000-0000-0000-0000-000000000000"])
async def test_a_cursor_that_is_none_begins_anew_or_ends(browser, before):
    """Nothing fails."""
    assert (await browser.get(f"/console/history?before={before}")).status_code == 200


async def test_a_review_stays_with_the_prediction(browser, client, predictions):
    """Under the visitor's name, with the reason as one line; another one is added, and the newest comes first."""
    path = f"/console/predictions/{predictions[0]}"
    answer = await browser.post(f"{path}/review", {"decision": "accepted", "reason": " Entretien\r\nprévu. "})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}#review")
    await browser.post(f"{path}/review", {"decision": "overridden", "reason": "Un départ est déjà <convenu>."})
    stored = (await client.get(f"/predictions/{predictions[0]}")).json()["reviews"]
    assert [(item["decision"], item["reason"], item["account"]) for item in stored] == [
        ("overridden", "Un départ est déjà <convenu>.", "anne"),
        ("accepted", "Entretien prévu.", "anne"),
    ]
    page = (await browser.get(path)).text
    assert page.index("&lt;convenu&gt;") < page.index("Entretien prévu.")


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({"decision": "accepted", "reason": "  "}, {"reason"}),
        ({"decision": "accepted", "reason": "x" * 501}, {"reason"}),
        ({"decision": "accepted", "reason": "a\x00b"}, {"reason"}),
        ({"decision": "fire", "reason": "x"}, {"decision"}),
        ({}, {"decision", "reason"}),
    ],
)
async def test_a_review_without_what_it_takes_is_asked_for_again(browser, client, predictions, form, wrong):
    """The page comes back with what was typed and what is wrong, and nothing is recorded."""
    page = await browser.post(f"/console/predictions/{predictions[1]}/review", form)
    assert page.status_code == 422
    assert set(re.findall(r'class="error" id="error-([a-z_]+)"', page.text)) == wrong
    assert (await client.get(f"/predictions/{predictions[1]}")).json()["reviews"] == []


async def test_an_outcome_stays_with_the_prediction(browser, client, predictions):
    """The day and whether the person has left."""
    path, today = f"/console/predictions/{predictions[2]}", datetime.now(UTC).date().isoformat()
    answer = await browser.post(f"{path}/outcome", {"left": "1", "observed_on": today})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}#outcome")
    (stored,) = (await client.get(f"/predictions/{predictions[2]}")).json()["outcomes"]
    assert (stored["left"], stored["observed_on"], stored["account"]) == (True, today, "anne")
    assert "partie le" in (await browser.get(path)).text


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({"left": "1", "observed_on": "2999-01-01"}, {"observed_on"}),
        ({"left": "0", "observed_on": "2020-01-01"}, {"observed_on"}),
        ({"left": "0", "observed_on": "soon"}, {"observed_on"}),
        ({"left": "perhaps"}, {"left", "observed_on"}),
    ],
)
async def test_an_impossible_outcome_is_asked_for_again(browser, client, predictions, form, wrong):
    """Nothing is recorded."""
    page = await browser.post(f"/console/predictions/{predictions[1]}/outcome", form)
    assert page.status_code == 422
    assert set(re.findall(r'class="error" id="error-([a-z_]+)"', page.text)) == wrong
    assert (await client.get(f"/predictions/{predictions[1]}")).json()["outcomes"] == []


@pytest.mark.parametrize(
    ("what", "form"),
    [("review", {"decision": "accepted", "reason": "x"}), ("outcome", {"left": "0", "observed_on": "2026-01-01"})],
)
async def test_nothing_follows_a_prediction_that_is_none(browser, what, form):
    """It is not found."""
    answer = await browser.post(f"/console/predictions/01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4/{what}", form)
    assert answer.status_code == 404


async def test_what_is_found_is_taken_away(browser, predictions, admin):
    """All of it and nothing else, as the API exports it, on the record; what cannot be looked for is refused."""
    page = await browser.get("/console/history?ref=E-history&leaves=0")
    address = html.unescape(re.search(r'href="(/console/history\.csv[^"]*)"', page.text)[1])
    answer = await browser.get(address)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.text.splitlines()) == 1 + len(predictions[::3])
    for identifier in predictions[::3]:
        assert identifier in answer.text
    (entry,) = (await admin.get("/audit", params={"limit": 1})).json()["items"]
    assert (entry["action"], entry["details"]) == ("history-exported", {"leaves": False, "one_employee": True})
    assert (await browser.get("/console/history.csv?since=soon")).status_code == 422


@pytest.mark.parametrize("older", [True, False])
async def test_a_period_that_is_over_begins_at_its_end(browser, predictions, older):
    """What came after it is not looked at, and nothing that belongs to it is left out, whatever the page."""
    today = datetime.now(UTC).date()
    before = f"&before={predictions[30]}" if older else ""
    found = ids(await browser.get(f"/console/history?ref=E-history&until={today}{before}"))
    assert found == (predictions[:30] if older else predictions)[:-26:-1]
    assert ids(await browser.get(f"/console/history?ref=E-history&until={today - timedelta(days=2)}{before}")) == []
    assert (await browser.get("/console/history?until=0001-01-01")).status_code == 200
