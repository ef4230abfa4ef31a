"""The real service and a real browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).parents[2]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
CHROMIUM = "/usr/bin/chromium"
# As root in a container; and nothing that the browser would ask the network for on its own account.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

type Visit = Callable[..., Page]


class Service(NamedTuple):
    """Where the service answers, and who may ask."""

    url: str
    username: str
    password: str


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe objects to on `page`: the rule, and the first element that breaks it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    return [(violation["id"], violation["nodes"][0]["html"]) for violation in found]


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """`churn serve` with its embedded PostgreSQL in `folder`, as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = Service(f"http://127.0.0.1:{port}", "admin", "a-password-for-one-test-run")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")} | {
        "CHURN_PORT": str(port),
        "CHURN_DATA_DIR": str(folder / "data"),
        "CHURN_ADMIN_PASSWORD": service.password,
    }
    with (folder / "log").open("w+b") as log:
        command = [sys.executable, "-c", "from churn.cli import main; main()", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, f"{service.url}/readyz", folder / "log")
            yield service
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, which all tests share."""
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"the service did not become ready:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def state(browser: Browser, service: Service) -> object:
    """What a browser keeps of a sign-in as the administrator."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{service.url}/console/sign-in")
        page.locator("#username").fill(service.username)
        page.locator("#password").fill(service.password)
        page.locator("main button").click()
        page.wait_for_url(f"{service.url}/console")
        return context.storage_state()


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """Opens pages of the service, none of which may ask another host for anything or log an error."""
    contexts: list[BrowserContext] = []
    strayed: list[str] = []
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # Chromium itself reports a page whose status says that a form was refused.
        refused = message.text.startswith("Failed to load resource") and "/console" in message.location["url"]
        if message.type in {"error", "warning"} and not (refused and "status of 4" in message.text):
            errors.append(message.text)

    def visit(path: str, *, width: int = 1280, locale: str = "fr-FR", **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale, **options)
        contexts.append(context)
        context.on("request", lambda request: own(request.url) or strayed.append(request.url))
        context.on("console", heard)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        response = page.goto(service.url + path)
        assert response is not None
        assert response.status == 200
        page.wait_for_load_state("networkidle")
        return page

    def own(address: str) -> bool:
        return address.startswith((f"{service.url}/", "data:", f"blob:{service.url}/"))

    yield visit
    for context in contexts:
        context.close()
    assert strayed == []
    assert errors == []
