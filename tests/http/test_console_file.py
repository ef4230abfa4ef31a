"""A file in the console: read, scored, and what came out."""

import csv
import html
import io
import json
import re

import pytest
from tests.builders import LEAVER
from tests.http.conftest import ACCOUNTS, PASSWORD
from tests.http.console import Browser

from churn.domain.account import Role
from churn.domain.employee import FEATURES

STAYER = LEAVER | {"heures_supp": "Non", "revenu_mensuel": 9000, "age": 45, "satisfaction_equilibre": 3, "pee": 1}


@pytest.fixture(scope="module")
async def browser(app):
    browser = Browser(app)
    await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
    return browser


def table(*rows, titles=("employee_ref", *FEATURES)):
    """A file of employees, as bytes."""
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerows([titles, *([row.get(title, "") for title in titles] for row in rows)])
    return file.getvalue().encode()


def people(n, prefix="F"):
    return [(STAYER if i % 3 else LEAVER) | {"employee_ref": f"{prefix}-{i}", "exp_totale": i % 40} for i in range(n)]


async def send(browser, content, path="/console/file"):
    return await browser.client.post(
        path,
        data={"form_token": browser.form_token},
        files={"file": ("people.csv", content, "text/csv")},
        headers={"sec-fetch-site": "same-origin"},
    )


async def ranking(browser, path):
    """Rank, reference and address of everyone in the ranked list, page by page."""
    found = []
    while path:
        page = await browser.get(path)
        assert page.status_code == 200
        found += re.findall(
            r'fine">([\d\u202f]+)</td>\s*<td class="gauge \w+"><a href="([^"]+)">.*?</td>\s*<td>([^<]*)</td>',
            page.text,
            re.DOTALL,
        )
        following = re.search(r'<a href="([^"]+)" rel="next">', page.text)
        path = following and html.unescape(following[1])
    return found


async def test_a_file_becomes_a_ranked_list(browser, client):
    """Everyone of the file and nobody else, the highest risk first, each as the API would have scored them."""
    await client.post("/predict", json=LEAVER)
    answer = await send(browser, table(*people(60)))
    await client.post("/predict", json=LEAVER)
    assert answer.status_code == 303
    found = await ranking(browser, answer.headers["location"])
    assert [int(rank) for rank, _, _ in found] == list(range(1, 61))
    assert {reference for _, _, reference in found} == {f"F-{i}" for i in range(60)}
    probabilities = []
    for _, path, reference in found[::7]:
        stored = (await client.get(path.removeprefix("/console"))).json()
        assert stored["employee"]["employee_ref"] == reference
        probabilities.append(stored["probability"])
    assert probabilities == sorted(probabilities, reverse=True)


async def test_the_list_is_filtered_by_risk_and_reference(browser):
    """Ranks stay those of the whole list; nothing found is said."""
    path = (await send(browser, table(*people(30, "G")))).headers["location"]
    high = await ranking(browser, f"{path}&risk=high")
    assert [int(rank) for rank, _, _ in high] == list(range(1, 11))
    (only,) = await ranking(browser, f"{path}&ref=g-29")
    assert only[2] == "G-29"
    assert int(only[0]) > 10
    assert "Personne ne correspond." in (await browser.get(f"{path}&ref=nobody")).text
    for page in ("0", "x", "²", "99999"):
        assert (await browser.get(f"{path}&page={page}")).status_code == 200


async def test_the_list_is_taken_away(browser):
    """As a spreadsheet of the page's language opens it, ranked, and without a formula in it."""
    rows = [*people(3, "H"), STAYER | {"employee_ref": "H-4"}]
    path = (await send(browser, table(*rows))).headers["location"]
    answer = await browser.get(path.replace("/results?", "/results.csv?"))
    assert answer.headers["content-disposition"] == 'attachment; filename="predictions.csv"'
    assert answer.headers["cache-control"] == "no-store"
    lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";"))
    assert lines[0][:4] == ["Rang", "Référence", "Probabilité", "Risque"]
    assert [line[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert re.fullmatch(r"0,\d{4}", lines[1][2])
    english = await browser.get(path.replace("/results?", "/results.csv?"), headers={"accept-language": "en"})
    assert english.content.decode("utf-8-sig").startswith("Rank,Reference,Probability")


async def test_rejected_rows_are_told_and_stop_no_other(browser):
    """Each with its line and every reason in words, and the list of the others is one step away."""
    rows = people(5, "I")
    rows[1] = rows[1] | {"age": "17", "heures_supp": "parfois"}
    rows[3] = rows[3] | {"employee_ref": "<Jean Dupont>"}
    page = await send(browser, table(*rows))
    assert page.status_code == 200
    text = html.unescape(page.text)
    assert "2 lignes rejetées" in text
    assert "3 lignes estimées" in text
    assert "<b>Âge\u00a0:</b> Doit être un entier compris entre 18 et 70." in text
    assert "<b>Heures supplémentaires\u00a0:</b> Doit être l'une des valeurs" in text
    assert "<b>Référence\u00a0:</b> 1 à 64 lettres" in text
    assert "Jean Dupont" not in text
    path = re.search(r'href="(/console/file/results[^"]+)"', page.text)[1]
    assert len(await ranking(browser, html.unescape(path))) == 3


async def test_a_file_of_rejected_rows_alone(browser):
    """Nothing was scored, so there is no list; of very many, the first are told."""
    page = await send(browser, table(*[LEAVER | {"age": 7}] * 250))
    assert page.status_code == 200
    assert "250 lignes rejetées" in page.text
    assert page.text.count("compris entre 18 et 70") == 200
    assert "sont montrées" in page.text
    assert "/console/file/results" not in page.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "pas un CSV"),
        (b"PK\x03\x04\x00\x00", "pas un CSV"),
        (table(titles=FEATURES[1:]), "Il manque des colonnes\u00a0: Âge."),
        (table(), "pas de ligne"),
    ],
)
async def test_a_file_that_cannot_be_scored_says_why(browser, content, said):
    """With and without a script."""
    page = await send(browser, content)
    assert page.status_code == 422
    assert said in html.unescape(page.text)
    events = [json.loads(line) for line in (await send(browser, content, "/console/file/progress")).text.splitlines()]
    assert said in events[-1]["wrong"]


async def test_no_file_and_too_long_a_file_are_refused(browser, serve):
    """The bounds are those of the API's batches."""
    assert "Choisissez un fichier." in (await browser.post("/console/file", {"file": "text"})).text
    async with serve(batch_max_rows=3, batch_max_body_size=4096) as client:
        browser = Browser(client._transport.app)
        await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
        assert "Au plus 3 lignes" in (await send(browser, table(*people(4)))).text
        answer = await send(browser, b"x" * 5000)
        assert answer.status_code == 413
        assert answer.headers["content-type"].startswith("text/html")


async def test_progress_is_told_line_by_line(browser):
    """Up to all rows; the last line says where to go, or shows what was rejected."""
    answer = await send(browser, table(*people(300, "J")), "/console/file/progress")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["done"] for event in events[:-1]] == [128, 256, 300]
    assert {event["total"] for event in events[:-1]} == {300}
    assert len(await ranking(browser, events[-1]["location"])) == 300
    answer = await send(browser, table(*people(2, "K"), LEAVER | {"age": 7}), "/console/file/progress")
    assert "1 ligne rejetée" in json.loads(answer.text.splitlines()[-1])["html"]


async def test_progress_tells_an_outage(serve, tmp_path):
    """As the last line: the response has begun."""
    async with serve(models_dir=str(tmp_path)) as client:
        browser = Browser(client._transport.app)
        await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
        answer = await send(browser, table(*people(2)), "/console/file/progress")
        assert "ne peut pas répondre" in json.loads(answer.text.splitlines()[-1])["wrong"]
        assert (await send(browser, table(*people(2)))).status_code == 503


async def test_a_preview_shows_what_is_recognised(browser):
    """Columns by their meaning, what is missing and what is ignored, and the first rows as text."""
    titles = ("Matricule", "Salaire <b>", *FEATURES[1:])
    row = dict(zip(titles, ["E-1", "x", *(LEAVER[name] for name in FEATURES[1:])], strict=True))
    page = await send(browser, table(row, row, titles=titles), "/console/file/preview")
    assert page.status_code == 200
    assert "Il manque\u00a0: Âge" in page.text
    assert "Salaire &lt;b&gt;" in page.text
    assert page.text.count("<td>E-1</td>") == 2
    for content in (b"", b"\x00"):
        assert "pas un CSV" in html.unescape((await send(browser, content, "/console/file/preview")).text)


async def test_the_example_is_a_file_that_can_be_scored(browser):
    """With every column."""
    example = await browser.get("/console/file/example.csv")
    assert (await send(browser, example.content)).status_code == 303


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?first=x&last=y&by=anne",
        "?first=ffffffff-ffff-ffff-ffff-ffffffffffff&last=ffffffff-ffff-ffff-ffff-ffffffffffff&by=anne",
        "?first=00000000-0000-0000-0000-000000000000&last=ffffffff-ffff-ffff-ffff-ffffffffffff&by=No:Body",
    ],
)
async def test_a_list_of_nothing_is_not_found(browser, query):
    """In the page and in the download."""
    for path in ("/console/file/results", "/console/file/results.csv"):
        assert (await browser.get(path + query)).status_code == 404
