"""One person in the console: the form, the answer, and what would change it."""

import html
import re
from urllib.parse import urlsplit

import pytest
from tests.builders import LEAVER
from tests.http.conftest import ACCOUNTS, PASSWORD
from tests.http.console import Browser

from churn.domain.account import Role


@pytest.fixture(scope="module")
async def browser(app):
    browser = Browser(app)
    await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
    return browser


def errors_of(answer):
    """The text of each error by the field that it is said of, as assistive technology finds it."""
    texts = dict(re.findall(r'id="(error-[a-z_]+)">([^<]+)<', answer.text))
    fields = re.findall(r'aria-describedby="(error-([a-z_]+))[^"]*" aria-invalid="true"', answer.text)
    return {name: html.unescape(texts[identifier]) for identifier, name in fields}


async def test_a_form_becomes_a_prediction(browser, client):
    """It is the API's, stored under the account, and its page tells it."""
    answer = await browser.post("/console", LEAVER | {"employee_ref": "E-77"})
    assert answer.status_code == 303
    path = urlsplit(answer.headers["location"]).path
    page = await browser.get(path)
    stored = (await client.get(path.removeprefix("/console"))).json()
    assert (stored["account"], stored["employee"]["employee_ref"]) == (ACCOUNTS[Role.ANALYST], "E-77")
    assert f"{100 * stored['probability']:.0f}\u202f%" in page.text
    assert "Risque de départ élevé" in page.text
    for contribution in stored["contributions"]:
        assert html.escape(contribution["sentence"], quote=False).replace("'", "&#39;") in page.text


@pytest.mark.parametrize(
    ("text", "expected"), [("1 500", 1500), ("1\u202f500,5", 1500.5), ("1500.50", 1500.5), (" 1500 ", 1500)]
)
async def test_numbers_are_read_as_people_write_them(browser, client, text, expected):
    """With a comma or a point, in groups of three or not."""
    answer = await browser.post("/console", LEAVER | {"revenu_mensuel": text})
    assert answer.status_code == 303
    stored = (await client.get(answer.headers["location"].removeprefix("/console"))).json()
    assert stored["employee"]["revenu_mensuel"] == expected


async def test_every_error_is_told_at_its_field(browser):
    """In words of the page's language, all at once, and what was typed is still there."""
    form = {"age": "7", "revenu_mensuel": "beaucoup", "employee_ref": "<Jean Dupont>", "pee": "1,5", "anciennete": "6"}
    answer = await browser.post("/console", form)
    assert answer.status_code == 422
    errors = errors_of(answer)
    assert errors["age"] == "Doit être un entier compris entre 18 et 70."
    assert errors["revenu_mensuel"].startswith("Doit être un nombre")
    assert errors["pee"].startswith("Doit être un entier")
    assert errors["exp_totale"] == "Champ obligatoire."
    assert errors["heures_supp"] == errors["satisfaction_equilibre"] == "Choisissez une réponse."
    assert "lettres" in errors["employee_ref"]
    assert "anciennete" not in errors
    assert 'value="beaucoup"' in answer.text
    assert 'value="&lt;Jean Dupont&gt;"' in answer.text
    english = await browser.post("/console", form, headers={"sec-fetch-site": "same-origin", "accept-language": "en"})
    assert errors_of(english)["age"] == "Must be an integer between 18 and 70."


@pytest.mark.parametrize("name", ["../etc/passwd", "\x00", "1e400", "NaN", "Infinity", "٣٤"])
async def test_whatever_is_typed_is_refused_in_words(browser, name):
    """Nothing that is no number of ours fails the service."""
    answer = await browser.post("/console", LEAVER | {"age": name})
    assert answer.status_code == 422
    assert "age" in errors_of(answer)


async def test_a_prediction_is_changed_and_estimated_again(browser):
    """The form comes with its values, as they are written in the page's language."""
    answer = await browser.post("/console", LEAVER | {"revenu_mensuel": "12345.5", "employee_ref": "E-5"})
    identifier = answer.headers["location"].rpartition("/")[2]
    form = (await browser.get(f"/console?from={identifier}")).text
    assert 'value="12\u202f345,5"' in form
    assert 'value="E-5"' in form
    assert re.search(r'name="heures_supp" value="Oui" required checked', form)
    assert 'value="12' not in (await browser.get("/console?from=nothing")).text
    assert (await browser.get("/console?from=01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4")).status_code == 200


async def test_a_value_outside_the_training_range_is_owned_up_to(browser):
    """The page names the fact and its value."""
    answer = await browser.post("/console", LEAVER | {"distance_domicile_travail": "500"})
    page = (await browser.get(answer.headers["location"])).text
    assert "À lire avec prudence" in page
    assert "500\u00a0km" in page[page.index("À lire avec prudence") :]


async def test_what_if_answers_for_other_values_and_records_nothing(browser, client):
    """The same model, another person; the difference is told in points."""
    before = (await client.get("/predictions?limit=1")).json()["items"][0]["id"]
    now = (await client.post("/explain/what-if", json=LEAVER)).json()["probability"]
    calmer = (await client.post("/explain/what-if", json=LEAVER | {"heures_supp": "Non"})).json()["probability"]
    answer = await browser.post("/console/what-if", LEAVER | {"heures_supp": "Non", "before": str(now)})
    assert answer.status_code == 200
    assert f"{100 * calmer:.0f}\u202f%" in answer.text
    assert f"\u2212{round(100 * now) - round(100 * calmer)}\u00a0points" in answer.text
    assert "<html" not in answer.text
    assert (await client.get("/predictions?limit=1")).json()["items"][0]["id"] == before


@pytest.mark.parametrize("before", ["", "2", "nan", "x"])
async def test_what_if_needs_nothing_to_compare_with(browser, before):
    """A probability that is none is left out."""
    answer = await browser.post("/console/what-if", LEAVER | {"before": before})
    assert answer.status_code == 200
    assert "point" not in answer.text


async def test_what_if_refuses_what_the_form_refuses(browser):
    """With a page that says what is wrong, and no trace of the value."""
    answer = await browser.post("/console/what-if", LEAVER | {"age": "7000"})
    assert answer.status_code == 422
    assert "compris entre 18 et 70" in answer.text
    assert "7000" not in answer.text


async def test_a_prediction_that_is_none_is_not_found(browser):
    """The page says so."""
    answer = await browser.get("/console/predictions/01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4")
    assert answer.status_code == 404
    assert "Introuvable" in answer.text


async def test_without_a_model_the_form_says_so(serve, tmp_path):
    """It can be looked at, but not sent; a form that is sent all the same comes back with its values."""
    async with serve(models_dir=str(tmp_path)) as client:
        browser = Browser(client._transport.app)
        await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
        form = await browser.get("/console")
        assert form.status_code == 200
        assert "Aucun modèle" in form.text
        answer = await browser.post("/console", LEAVER)
        assert answer.status_code == 503
        assert 'name="age" value="18"' in answer.text
        assert (await browser.post("/console/what-if", LEAVER)).status_code == 503
