"""The landing page and the documentation, in a browser."""

import shlex

import httpx
import pytest
from playwright.sync_api import expect
from tests.browser.conftest import violations

pytestmark = pytest.mark.browser

WIDTHS = (1280, 390)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/?lang=fr", "Qui pourrait partir, et pourquoi ?"),
        ("/?lang=en", "Who might leave, and why?"),
        ("/docs", "Prédire le départ d'un employé"),
        ("/redoc", "Prédire le départ d'un employé"),
        ("/scalar", "/predictions/{prediction_id}"),
    ],
)
def test_a_page_shows_itself_at_every_width(visit, path, shown, width):
    """What the page is for is there to see, and nothing makes it scroll sideways."""
    page = visit(path, width=width)
    expect(page.get_by_text(shown).filter(visible=True).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_landing_page_is_accessible(visit, language, width, scheme):
    """axe finds nothing to object to, contrast included."""
    page = visit(f"/?lang={language}", width=width, color_scheme=scheme)
    assert violations(page) == []


def test_the_landing_page_is_read_in_the_language_chosen(visit):
    """The browser's language comes first, and a link changes it."""
    page = visit("/", locale="en-GB")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("link", name="Français").click()
    expect(page.locator("html")).to_have_attribute("lang", "fr")


def test_the_landing_page_works_without_javascript(visit, service):
    """Everything is there but the button that only JavaScript can serve."""
    page = visit("/", java_script_enabled=False)
    expect(page.locator("#command")).to_contain_text("/predict")
    expect(page.get_by_role("button")).to_have_count(0)
    page.get_by_role("link", name="Swagger UI").click()
    expect(page).to_have_url(f"{service.url}/docs")


def test_the_landing_page_works_with_the_keyboard(visit):
    """The first stop of the Tab key leads past the header."""
    page = visit("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Aller au contenu")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()


def test_the_command_to_copy_works(visit, service):
    """What the button copies is what is shown, and the service answers it as the page promises."""
    page = visit("/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copier").click()
    expect(page.get_by_role("button", name="Copié")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#command").text_content()

    curl, user_flag, user, header_flag, header, url, body_flag, body = shlex.split(copied.replace("\\\n", ""))
    assert (curl, user_flag, header_flag, body_flag) == ("curl", "-u", "-H", "-d")
    name, value = header.split(": ")
    answer = httpx.post(url, content=body, headers={name: value}, auth=(user, service.password))
    assert answer.status_code == 200
    assert answer.json()["prediction"] == 1


def test_swagger_ui_makes_a_real_prediction(visit, service):
    """Sign in, try it out, execute: the answer of the service appears in the page."""
    page = visit("/docs")
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_label("Username").fill(service.username)
    dialog.get_by_label("Password").fill(service.password)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").last.click()

    operation = page.locator(".opblock-post", has_text="/predict").first
    operation.get_by_role("button", name="/predict").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_have_text("200")
    expect(answer).to_contain_text("Risque de départ élevé")


def test_swagger_ui_follows_the_scheme_of_the_system(visit):
    """Dark where the visitor's system is."""
    expect(visit("/docs", color_scheme="dark").locator("html.dark-mode")).to_have_count(1)
    expect(visit("/docs", color_scheme="light").locator("html.dark-mode")).to_have_count(0)


def test_redoc_searches(visit):
    """The search, which runs in a worker, finds an operation."""
    page = visit("/redoc")
    page.get_by_role("textbox", name="search").fill("historique")
    expect(page.get_by_role("menuitem", name="Parcourir l'historique").filter(visible=True).first).to_be_visible()


def test_scalar_makes_a_real_request(visit):
    """Its client asks the service itself, not a proxy."""
    page = visit("/scalar#tag/exploitation/GET/livez")
    page.get_by_role("button", name="livez").filter(visible=True).last.click()
    page.get_by_role("dialog").get_by_role("button", name="Envoyer").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("alive")
