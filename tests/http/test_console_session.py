"""Who gets into the console, and who does not."""

import re
from http.cookies import SimpleCookie

import pytest
from msgspec.structs import replace
from tests.builders import LEAVER
from tests.http.conftest import ACCOUNTS, PASSWORD, connect, lifespan, new_database
from tests.http.console import ORIGIN, Browser

from churn.container import build_container
from churn.domain.account import Role
from churn.http.app import create_app

UNKNOWN = "01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4"
ANALYST = ACCOUNTS[Role.ANALYST]


@pytest.fixture
def browser(app):
    return Browser(app)


@pytest.fixture
async def signed_in(browser):
    await browser.sign_in(ANALYST, PASSWORD)
    return browser


@pytest.fixture(scope="module")
async def own(postgres_url, migrations_dir):
    """An application over a database of its own, whose accounts a test may change."""
    settings = await new_database(postgres_url, migrations_dir, "console_sessions")
    app = create_app(settings)
    container = build_container(settings)
    async with lifespan(app):
        yield app, container, settings
    await container.engine().dispose()


async def is_in(browser):
    """Whether the console lets the browser in, rather than lead it to the sign-in."""
    answer = await browser.get("/console")
    assert answer.status_code in (200, 303)
    if answer.status_code == 303:
        assert answer.headers["location"] == "/console/sign-in"
    return answer.status_code == 200


async def test_a_visitor_is_led_to_the_sign_in_and_back(browser):
    """After it, they are where they wanted to go, query included."""
    wanted = "/console/predictions/01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4?x=1"
    answer = await browser.get(wanted)
    assert answer.status_code == 303
    form = await browser.get(answer.headers["location"])
    destination = re.search(r'name="next" value="([^"]*)"', form.text)[1]
    answer = await browser.post("/console/sign-in", {"username": ANALYST, "password": PASSWORD, "next": destination})
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)


@pytest.mark.parametrize(
    "destination",
    [
        "https://evil.test/",
        "//evil.test",
        "/console//evil.test",
        "/\\evil.test",
        "/console/../docs",
        "/console\n",
        "javascript:alert(1)",
        "/consolex",
        "",
    ],
)
async def test_a_sign_in_leads_to_nowhere_else(browser, destination):
    """Whatever a link to the sign-in says, it ends in the console."""
    answer = await browser.post("/console/sign-in", {"username": ANALYST, "password": PASSWORD, "next": destination})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_the_cookie_is_out_of_reach(browser):
    """Of scripts, of other hosts, of other sites' forms, and of whoever listens."""
    answer = await browser.post("/console/sign-in", {"username": ANALYST, "password": PASSWORD})
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.key == "__Host-churn"
    assert cookie["path"] == "/"
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "lax"
    assert not cookie["domain"]
    assert not cookie["max-age"]


async def test_the_cookie_can_do_without_https(serve):
    """Where an operator has said so, and only there."""
    async with serve(session_secure=False) as client:
        answer = await client.post(
            "/console/sign-in",
            data={"username": ANALYST, "password": PASSWORD},
            headers={"origin": "http://churn.test"},
        )
    assert answer.headers["set-cookie"].startswith("churn=")
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(("username", "password"), [(ANALYST, "wrong password"), ("nobody", PASSWORD), ("", "")])
async def test_who_is_wrong_stays_out_without_being_told_why(browser, username, password):
    """The form says the same of a wrong name and a wrong password, keeps the name, and never asks for Basic auth."""
    answer = await browser.post("/console/sign-in", {"username": username, "password": password})
    assert answer.status_code == 403
    assert "Le nom ou le mot de passe n&#39;est pas le bon" in answer.text
    assert f'value="{username}"' in answer.text
    assert PASSWORD not in answer.text
    assert "www-authenticate" not in answer.headers
    assert not await is_in(browser)


async def test_guesses_are_slowed_down(serve):
    """By the throttle of the API, in words, and with the time to wait."""
    async with serve(failed_logins_per_account=1) as client:
        statuses = []
        for _ in range(2):
            answer = await client.post(
                "/console/sign-in",
                data={"username": "nobody", "password": "wrong password"},
                headers={"origin": "http://churn.test"},
            )
            statuses.append(answer.status_code)
    assert statuses == [403, 429]
    assert int(answer.headers["retry-after"]) > 0
    assert "Trop de tentatives" in answer.text


async def test_signing_in_again_changes_the_session(signed_in):
    """The token from before the sign-in opens nothing any more."""
    before = signed_in.client.cookies["__Host-churn"]
    await signed_in.sign_in(ANALYST, PASSWORD)
    assert signed_in.client.cookies["__Host-churn"] != before
    assert await is_in(signed_in)
    signed_in.client.cookies.clear()
    assert not await is_in(Browser_with(signed_in, before))


def Browser_with(browser, token):  # noqa: N802
    browser.client.cookies.set("__Host-churn", token, domain="churn.test")
    return browser


async def test_signing_out_ends_the_session(signed_in):
    """In the browser and in the service."""
    token = signed_in.client.cookies["__Host-churn"]
    answer = await signed_in.post("/console/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in?signed-out")
    assert "__Host-churn" not in signed_in.client.cookies
    assert not await is_in(Browser_with(signed_in, token))


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "another battery staple"}])
async def test_a_session_ends_everywhere_when_its_account_changes(own, change):
    """In every process at once, by whichever the account is changed."""
    app, container, settings = own
    username = f"anne{len(change)}{'p' if 'password' in change else 'd'}"
    await container.create_account()(username, PASSWORD, Role.ANALYST, by="tests")
    other = create_app(settings)
    async with lifespan(other):
        here, there = Browser(app), Browser(other)
        for browser in (here, there):
            await browser.sign_in(username, PASSWORD)
            assert await is_in(browser)
        await container.change_account()(username, by="tests", **change)
        assert not await is_in(here)
        assert not await is_in(there)


async def test_a_session_opens_neither_the_api_nor_does_basic_auth_the_console(app, signed_in):
    """Each has its own way in, so that no form of another site can use the one for the other."""
    answer = await signed_in.client.post("/predict", json=LEAVER)
    assert answer.status_code == 401
    async with connect(app, Role.ANALYST) as client:
        assert (await client.get("/console")).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "https://churn.test.evil.test"},
        {"origin": "https://[broken"},
        {"sec-fetch-site": "cross-site", "origin": ORIGIN},
        {"host": "churn.test:port", "origin": "http://churn.test:port"},
    ],
)
@pytest.mark.parametrize("path", ["/console", "/console/sign-in", "/console/sign-out", "/console/what-if"])
async def test_a_form_of_another_site_changes_nothing(signed_in, path, headers):
    """Even with the cookie, and the secret of a form, it is refused; a browser always says where a form is from."""
    data = {"username": ANALYST, "password": PASSWORD} if path.endswith("sign-in") else LEAVER
    answer = await signed_in.post(path, data, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert await is_in(signed_in)


@pytest.mark.parametrize("path", ["/console", "/console/sign-out", "/console/what-if"])
@pytest.mark.parametrize("token", ["", "0" * 48, "é\ud800"])
async def test_a_form_needs_the_secret_of_its_session(signed_in, path, token):
    """A form that no page of the session has made is refused, wherever it comes from."""
    content = b"form_token=" + token.encode("utf-8", "surrogatepass")
    answer = await signed_in.client.post(
        path,
        content=content,
        headers={"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 403
    assert await is_in(signed_in)


async def test_the_secret_of_another_session_is_of_no_use(app, signed_in):
    """Each session has its own."""
    other = Browser(app)
    await other.sign_in(ACCOUNTS[Role.ADMIN], PASSWORD)
    signed_in.form_token = other.form_token
    assert (await signed_in.post("/console/sign-out")).status_code == 403


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_no_other_site_can_use_a_password_that_the_browser_remembers(app, client, media_type):
    """What a page may send without asking first is refused by every route that changes something."""
    routes = {
        (method, route.path_format)
        for route in app._app.routes
        for method in getattr(route, "methods", ())
        if method == "POST" and not route.path_format.startswith("/console")
    }
    assert ("POST", "/predict") in routes
    for method, path in routes:
        answer = await client.request(method, path, content=b'{"reason": "x"}', headers={"content-type": media_type})
        assert answer.status_code in (403, 404, 405, 415), (method, path)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_no_other_site_is_allowed_to_send_anything_else(client, method):
    """For everything else a browser asks first, and the answer grants nothing."""
    answer = await client.options(
        "/predict",
        headers={
            "origin": "https://evil.test",
            "access-control-request-method": method,
            "access-control-request-headers": "content-type",
        },
    )
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "path",
    [
        "/console/sign-in",
        "/console",
        "/console/nothing-here",
        "/console/predictions/01a20f1e-84aa-7f1f-8d0f-a5f5c0b0d1a4",
    ],
)
async def test_a_page_keeps_to_itself(signed_in, path):
    """No cache keeps it, no site frames it, nothing inline runs in it, and no address of it is told to others."""
    answer = await signed_in.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert " on" not in re.sub(r">[^<]*<", "><", answer.text).replace("one", "")
    assert re.findall(r"<script(?![^>]* src=)", answer.text) == []


async def test_the_language_is_chosen_and_remembered(signed_in):
    """First the browser's, then the one of the link, on the same page and the next ones."""
    assert '<html lang="en">' in (await signed_in.get("/console", headers={"accept-language": "en"})).text
    answer = await signed_in.get("/console?from=x&lang=en")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console?from=x")
    assert '<html lang="en">' in (await signed_in.get("/console")).text
    await signed_in.get("/console?lang=fr")
    assert '<html lang="fr">' in (await signed_in.get("/console", headers={"accept-language": "en"})).text
    assert '<html lang="fr">' in (await signed_in.get("/console?lang=tlh")).text


async def test_an_outage_is_told_as_a_page(settings, unused_tcp_port):
    """With a status that says so, and nothing of what is behind it."""
    app = create_app(replace(settings, database_url=f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn"))
    async with lifespan(app):
        browser = Browser(app)
        form = await browser.post("/console/sign-in", {"username": ANALYST, "password": PASSWORD})
        browser.client.cookies.set("__Host-churn", "a-token", domain="churn.test")
        page = await browser.get("/console")
    for answer in (form, page):
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("text/html")
        assert int(answer.headers["retry-after"]) > 0
        assert "asyncpg" not in answer.text
