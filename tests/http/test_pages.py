"""The public pages, their assets and their headers, without a browser."""

import re
from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from churn.http.documentation import documentation_handlers, openapi_config
from churn.http.pages.assets import asset_url, serve_asset
from churn.http.pages.landing import landing
from churn.http.problems import EXCEPTION_HANDLERS

PAGES = ("/", "/docs", "/redoc", "/scalar")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [landing, serve_asset, *documentation_handlers()],
        openapi_config=openapi_config(),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "accept_language", "expected"),
    [
        ("/", "", "fr"),
        ("/", "en-GB,fr;q=0.5", "en"),
        ("/?lang=fr", "en", "fr"),
        ("/?lang=en", "fr", "en"),
        ("/?lang=tlh", "en", "en"),
    ],
)
def test_the_landing_page_speaks_the_visitors_language(client, path, accept_language, expected):
    """A link's language wins over the browser's, French over none, and the response says which and why."""
    response = client.get(path, headers={"accept-language": accept_language})
    assert response.status_code == 200
    assert f'<html lang="{expected}">' in response.text
    assert response.headers["content-language"] == expected
    assert response.headers["vary"] == "Accept-Language"


def test_the_landing_page_leads_everywhere(client):
    """The links of the page are those of the service, the same in both languages."""
    links = [re.findall(r'<li><a href="([^"]+)"', client.get(f"/?lang={language}").text) for language in ("fr", "en")]
    assert links[0] == ["/docs", "/scalar", "/redoc", "/openapi.json", "/livez", "/readyz"]
    assert links[1] == links[0]


def test_a_hostile_host_header_is_shown_as_text(client):
    """What a client calls the service is escaped."""
    response = client.get("/", headers={"host": 'x"><script>alert(1)</script>'})
    assert "<script>alert" not in response.text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_no_other_host(client, path):
    """Whatever a page loads comes from the service itself, and exists."""
    loaded = re.findall(r"""<(?:link|script|img)[^>]* (?:href|src)=["']([^"']+)""", client.get(path).text)
    assert loaded
    for address in loaded:
        assert address.startswith(("/assets/", "http://testserver.local/?lang="))
        assert client.get(address).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_a_page_forbids_the_browser_what_it_does_not_need(client, path):
    """No page allows a script that is not ours by address or digest, nor another host."""
    policy = dict(
        directive.split(" ", 1) for directive in client.get(path).headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert re.fullmatch(r"'self'( 'sha256-[A-Za-z0-9+/=]+')*", policy["script-src"])
    assert policy.get("connect-src", "'self'") == "'self'"


def test_the_landing_page_needs_nothing_inline(client):
    """Neither a script nor a style is written in the page."""
    page = client.get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert re.findall(r"<script(?![^>]* src=)", page) == []


@pytest.mark.parametrize("name", ["base.css", "copy.js", "favicon.svg", "swagger-ui.js", "redoc.js", "scalar.js"])
def test_an_asset_is_kept_for_good(client, name):
    """A browser keeps it for a year without asking again, and gets the same content compressed or not."""
    contents = set()
    for accept_encoding in ("gzip", "identity"):
        response = client.get(asset_url(name), headers={"accept-encoding": accept_encoding})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers.get("content-encoding", "identity") == accept_encoding
        assert response.headers["vary"] == "Accept-Encoding"
        contents.add(response.content)
    assert len(contents) == 1


@pytest.mark.parametrize("address", ["/assets/0000000000000000/base.css", "/assets/0000000000000000/none.css"])
def test_an_asset_has_one_address_for_each_content(client, address):
    """Another digest or another name is not found, so no cache can keep the wrong content."""
    response = client.get(address)
    assert response.status_code == 404
    assert "immutable" not in response.headers["cache-control"]


@pytest.mark.parametrize("path", ["/nothing", "/docs/nothing", "/oauth2-redirect.html", "/schema"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_address_is_a_problem(client, method, path):
    """The documentation takes no address but its own."""
    response = client.request(method, path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_the_document_describes_the_service(client):
    """The OpenAPI document names the scheme that operations refer to, and the pages are no part of it."""
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["basic"]["scheme"] == "basic"
    assert document["info"]["license"]["identifier"] == "MIT"
    assert document["paths"] == {}
