"""The console, in a browser."""

import re

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import ROOT, violations

pytestmark = pytest.mark.browser

WIDTHS = (1280, 390)
MODEL = (ROOT / "models/ACTIVE").read_text(encoding="utf-8").strip()
#: Bytes that a first visit of a page may transfer.
BUDGET = 300_000

LEAVER = {
    "employee_ref": "E-1024",
    "age": "31",
    "exp_totale": "9",
    "revenu_mensuel": "3200",
    "distance_domicile_travail": "18",
    "pee": "0",
    "heures_supp": "Oui",
    "anciennete": "4",
    "poste_actuel": "2",
    "annees_promo": "3",
    "satisfaction_environnement": "2",
    "satisfaction_equilibre": "2",
}


def fill(page, values=LEAVER):
    """Answer the form as a person does with a mouse."""
    for name, value in values.items():
        field = page.locator(f"main [name={name}]")
        if field.count() > 1:
            field.locator(f"xpath=self::*[@value='{value}']/..").click()
        else:
            field.fill(value)


def submit(page):
    page.locator("main form[action='/console'] button").click()


@pytest.fixture
def enter(visit, state):
    """Opens a page of the console, signed in."""

    def enter(path="/console", **options):
        return visit(path, storage_state=state, **options)

    return enter


@pytest.fixture(scope="session")
def prediction(browser, service, state):
    """The address of a prediction's page."""
    with browser.new_context(storage_state=state, locale="fr-FR") as context:
        page = context.new_page()
        page.goto(f"{service.url}/console")
        fill(page)
        submit(page)
        page.wait_for_url("**/console/predictions/*")
        return page.url.removeprefix(service.url)


TITLES = [name for name in LEAVER if name != "employee_ref"]


def people(n, *, age="31"):
    """A file of that many, as a spreadsheet saves it."""
    rows = [[f"E-{i}", *(age if name == "age" else LEAVER[name] for name in TITLES)] for i in range(n)]
    content = "\n".join(";".join(row) for row in [["Matricule", *TITLES], *rows])
    return {"name": "people.csv", "mimeType": "text/csv", "buffer": content.encode()}


@pytest.fixture(scope="session")
def results(browser, service, state):
    """The address of the ranked list of a file."""
    with browser.new_context(storage_state=state, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{service.url}/console/file")
        page.locator("#file").set_input_files(people(60))
        page.locator("main form button").click()
        page.wait_for_url("**/console/file/results?*")
        return page.url.removeprefix(service.url)


def weight(page):
    """The bytes that the page and what it loads took on the way, compressed as they were."""
    return page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".reduce((sum, entry) => sum + entry.transferSize, 0)"
    )


@pytest.mark.parametrize("locale", ["fr-FR", "en-GB"])
def test_every_page_is_accessible_and_light(enter, prediction, results, service, locale):
    """In both languages, at both widths and in both schemes: axe objects to nothing, nothing scrolls sideways."""
    page = enter(locale=locale)
    for path in [
        "/console",
        prediction,
        "/console/history",
        "/console/history?ref=nobody&since=2026-01-01",
        "/console/history?account=!",
        "/console/file",
        results,
        "/console/audit",
        "/console/monitoring",
        "/console/monitoring?until=2020-01-31",
        "/console/monitoring/performance",
        "/console/models",
        f"/console/models/{MODEL}",
        f"/console/models/{MODEL}/activate",
        "/console/accounts",
        "/console/accounts/admin",
        "/console/account",
        "/console/nowhere",
    ]:
        page.goto(service.url + path)
        page.wait_for_load_state("networkidle")
        assert 0 < weight(page) < BUDGET, path
        check_grid(page, path)
    page.goto(f"{service.url}/console")
    submit(page)
    expect(page.get_by_role("alert")).to_be_visible()
    check_grid(page, "a form that was refused")


@pytest.mark.parametrize("locale", ["fr-FR", "en-GB"])
def test_the_sign_in_is_accessible_and_light(visit, locale):
    """As every page is, also when it refuses."""
    page = visit("/console/sign-in", locale=locale)
    assert 0 < weight(page) < BUDGET
    check_grid(page, "sign-in")
    page.locator("#username").fill("nobody")
    page.locator("#password").fill("nothing that is right")
    page.locator("main button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check_grid(page, "refused")


def check_grid(page, path):
    """At every width and in every scheme; the page is loaded once, and laid out anew for each."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == [], (path, width, scheme)


def test_signing_in_and_out(visit, service):
    """The cookie works in a real browser, and the way back after the sign-out is the form."""
    page = visit("/console", locale="en-GB")
    page.get_by_label("Username").fill(service.username)
    page.get_by_label("Password").fill(service.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="One person")).to_be_visible()
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "__Host-churn"]
    assert cookie["httpOnly"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    page.goto(f"{service.url}/console")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_session_that_ends_leads_back(enter, prediction, service):
    """Sliders that are moved after the session has ended lead to the sign-in, and it leads back to the page."""
    page = enter(prediction)
    page.context.clear_cookies()
    page.get_by_label("Distance domicile-travail").fill("1")
    expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()
    page.get_by_label("Nom du compte").fill(service.username)
    page.get_by_label("Mot de passe").fill(service.password)
    page.get_by_role("button", name="Se connecter").click()
    expect(page).to_have_url(service.url + prediction)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_one_person(enter, width, scripts):
    """From the form to the answer and back, with and without JavaScript."""
    page = enter(width=width, java_script_enabled=scripts)
    fill(page)
    submit(page)
    expect(page.get_by_role("heading", name="E-1024")).to_be_visible()
    expect(page.locator("section .risk").first).to_have_text("Risque de départ élevé")
    expect(page.locator(".shares li")).to_have_count(11)
    expect(page.get_by_text("Heures supplémentaires : augmente le risque").first).to_be_visible()
    page.get_by_text("Les chiffres exacts").click()
    expect(page.get_by_role("row", name="Somme")).to_be_visible()
    page.get_by_role("link", name="Modifier et estimer à nouveau").click()
    expect(page.get_by_label("Revenu mensuel")).to_have_value("3\u202f200")


def test_the_form_tells_errors_at_their_fields(enter):
    """The summary leads to each of them, and assistive technology hears them with the field."""
    page = enter(locale="en-GB")
    fill(page, LEAVER | {"age": "7"})
    submit(page)
    page.get_by_role("alert").get_by_role("link", name="Age").click()
    field = page.get_by_label("Age")
    expect(field).to_be_focused()
    expect(field).to_have_value("7")
    expect(field).to_have_accessible_description(re.compile("Must be an integer between 18 and 70."))


def test_one_person_with_the_keyboard_alone(visit, service):
    """From the sign-in to the answer, without touching a mouse, and the focus is always to be seen."""
    page = visit("/console")
    page.keyboard.type(service.username)
    page.keyboard.press("Tab")
    page.keyboard.type(service.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Une personne")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Aller au contenu")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for name, value in LEAVER.items():
        expect(page.locator(":focus-visible")).to_have_attribute("name", name)
        if value.isdigit() and "satisfaction" in name:
            page.keyboard.press("Space")
            for _ in range(int(value) - 1):
                page.keyboard.press("ArrowRight")
        elif name == "heures_supp":
            page.keyboard.press("Space")
            page.keyboard.press("ArrowRight")
        else:
            page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="E-1024")).to_be_visible()


def test_sliders_answer_as_they_move(enter, prediction):
    """The estimate follows, is compared with the first one, and comes back to it."""
    page = enter(prediction)
    answer = page.locator("#what-if .figure strong")
    first = answer.text_content()
    page.get_by_label("Fait des heures supplémentaires").uncheck()
    expect(page.locator("#what-if .change")).to_contain_text("points")
    expect(answer).not_to_have_text(first)
    page.get_by_label("Équilibre").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output[for=slide-satisfaction_equilibre]")).to_have_text("élevé (3/4)")
    page.get_by_role("button", name="Revenir aux valeurs de départ").click()
    expect(answer).to_have_text(first)
    expect(page.locator("#what-if .change")).to_have_text("inchangé")


def test_without_javascript_the_changes_are_told(enter, prediction):
    """There are no sliders that do nothing; what each change would do is there to read."""
    page = enter(prediction, java_script_enabled=False)
    expect(page.locator(".sliders")).to_be_hidden()
    expect(page.locator(".suggestions li").first).to_contain_text("%")


def test_the_language_is_remembered(enter, service, prediction):
    """The link shows the same page in the other language, and the next pages too."""
    page = enter(prediction)
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="What weighs in this estimate")).to_be_visible()
    expect(page).to_have_url(service.url + prediction)
    page.get_by_role("link", name="All predictions of this person").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_history_and_review(enter, prediction, width, scripts):
    """Found by its reference, a prediction gets a conclusion and an outcome, which are there to read."""
    page = enter("/console/history", width=width, java_script_enabled=scripts)
    page.get_by_label("Référence de la personne").fill("E-1024")
    page.get_by_text("Autres critères").click()
    page.get_by_label("Risque").select_option("Élevé")
    page.get_by_role("button", name="Chercher").click()
    expect(page.get_by_label("Risque")).to_be_visible()
    page.get_by_role("link", name="Risque de départ élevé").last.click()
    reason = f"Entretien, {width} px, scripts {scripts}"
    form = page.get_by_role("region", name="Votre conclusion")
    form.get_by_role("button", name="Enregistrer").click()
    expect(page.get_by_label("Raison")).to_have_accessible_description(re.compile("Donnez une raison"))
    form.get_by_label("Écartée").check()
    form.get_by_label("Raison").fill(reason)
    form.get_by_role("button", name="Enregistrer").click()
    expect(form.get_by_role("listitem").first).to_contain_text(reason)
    form = page.get_by_role("region", name="Ce qui s'est passé")
    form.get_by_label("La personne était encore là").check()
    form.get_by_label("Quel jour").fill(page.locator("time").first.get_attribute("datetime")[:10])
    form.get_by_role("button", name="Enregistrer").click()
    expect(form.get_by_role("listitem").first).to_contain_text("encore là le")


@pytest.mark.parametrize("scripts", [True, False])
def test_accounts(enter, visit, scripts):
    """An admin lets somebody in, who is one at once, and keeps them out again."""
    username = f"anne.{'with' if scripts else 'without'}"
    page = enter("/console/accounts", locale="en-GB", java_script_enabled=scripts)
    page.get_by_label("Name").fill(username)
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_label("Password")).to_have_accessible_description(re.compile("Must have 12 to 256"))
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("status")).to_have_text("The account is created.")

    theirs = visit("/console", locale="en-GB")
    theirs.get_by_label("Username").fill(username)
    theirs.get_by_label("Password").fill("correct horse battery staple")
    theirs.get_by_role("button", name="Sign in").click()
    expect(theirs.get_by_role("link", name="History")).to_be_visible()
    expect(theirs.get_by_role("link", name="Accounts")).to_have_count(0)

    page.get_by_role("button", name="Disable the account").click()
    expect(page.get_by_role("button", name="Enable the account")).to_be_visible()
    theirs.get_by_role("link", name="History").click()
    expect(theirs.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_file(enter, width, scripts):
    """Dropped, looked at, scored and ranked; without JavaScript there is no preview, and nothing else is missing."""
    page = enter("/console/file", width=width, java_script_enabled=scripts)
    page.get_by_label("Choisir un fichier").set_input_files(people(300))
    if scripts:
        expect(page.get_by_role("columnheader", name="Référence")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Estimer chaque ligne").click()
    expect(page.get_by_role("heading", name="Résultat du fichier")).to_be_visible()
    page.get_by_label("Référence").fill("E-299")
    page.get_by_role("button", name="Filtrer").click()
    page.get_by_role("link", name="Risque de départ élevé").last.click()
    expect(page.get_by_role("heading", name="E-299")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_file_with_wrong_rows(enter, scripts):
    """They are told with their reasons; a file without the columns says which."""
    page = enter("/console/file", java_script_enabled=scripts)
    page.get_by_label("Choisir un fichier").set_input_files(people(3, age="7"))
    page.get_by_role("button", name="Estimer chaque ligne").click()
    expect(page.get_by_role("heading", name="3 lignes rejetées")).to_be_visible()
    expect(page.get_by_text("Doit être un entier compris entre 18 et 70.").first).to_be_visible()
    assert not scripts or violations(page) == []
    page.get_by_role("link", name="Un fichier").first.click()
    page.get_by_label("Choisir un fichier").set_input_files(
        {"name": "x.csv", "mimeType": "text/csv", "buffer": b"age;pee\n31;0"}
    )
    page.get_by_role("button", name="Estimer chaque ligne").click()
    expect(page.get_by_text("Il manque des colonnes").first).to_be_visible()


def test_monitoring(enter, prediction, results):
    """What the model is asked, and what it was worth, one step apart."""
    assert prediction
    assert results
    page = enter("/console/monitoring", width=390)
    expect(page.get_by_role("heading", name="Par information")).to_be_visible()
    expect(page.locator(".pair")).to_have_count(12)
    page.get_by_role("link", name="Justesse").click()
    expect(page.get_by_role("heading", name="Par mois")).to_be_visible()
