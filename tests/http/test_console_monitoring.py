"""Monitoring in the console."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils.compat
from tests.builders import LEAVER, employee, prediction, stored_together
from tests.http.conftest import ACCOUNTS, PASSWORD, connect, lifespan, new_database
from tests.http.console import Browser

from churn.container import build_container
from churn.domain.account import Role
from churn.domain.prediction import Risk, Score
from churn.http.app import create_app
from churn.use_cases.record_outcomes import Report

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=500)


@pytest.fixture(scope="module")
async def settings(postgres_url, migrations_dir):
    return await new_database(postgres_url, migrations_dir, "console_monitoring")


@pytest.fixture(scope="module")
async def own(settings):
    """An application over a database of its own."""
    app = create_app(settings)
    async with lifespan(app):
        yield app


@pytest.fixture(scope="module")
async def browser(own):
    browser = Browser(own)
    await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
    return browser


@pytest.fixture(scope="module")
async def empty(browser):
    """Both pages before anybody has predicted anything."""
    return [await browser.get(path) for path in ("/console/monitoring", "/console/monitoring/performance")]


@pytest.fixture(scope="module")
async def traffic(own, settings, empty):
    """One person asked about again and again today, and forty people long ago, of whom ten left as was said."""
    assert empty
    async with connect(own, Role.ANALYST) as client:
        for _ in range(120):
            await client.post("/predict", json=LEAVER)
        version = (await client.get("/models")).json()["serving"]["version"]
    container = build_container(settings)
    old = [
        prediction(
            id=uuid_utils.compat.uuid7(),
            created_at=LONG_AGO,
            model_version=version,
            risk=Risk.HIGH if n < 20 else Risk.LOW,
            employee=employee(),
            score=Score(0.5 if n < 20 else 0.05, None),
        )
        for n in range(40)
    ]

    await stored_together(container.history(), *old)
    await container.record_outcomes()(
        [
            Report(
                prediction_id=item.id,
                employee_ref=None,
                left=n < 10,
                observed_on=(LONG_AGO + timedelta(days=30 if n < 10 else 450)).date(),
            )
            for n, item in enumerate(old)
        ],
        account="anne",
    )
    await container.engine().dispose()


async def test_before_anything_is_predicted_the_pages_say_so(empty):
    """And lead to where it begins."""
    drift, performance = (html.unescape(page.text) for page in empty)
    assert "Pas encore assez de prédictions" in drift
    assert "Aucune prédiction sur cette période" in drift
    assert "Il n'y a pas encore de prédiction à juger." in performance
    assert [page.status_code for page in empty] == [200, 200]


async def test_what_drifts_comes_first(browser, traffic):
    """Each column with its pair of histograms, what drifts most before the rest, and the verdict in words."""
    page = html.unescape((await browser.get("/console/monitoring")).text)
    assert re.search(r"\d+ colonnes sur 12 ont dérivé\.", page)
    assert page.count('class="bars before"') == 12
    assert "120 prédictions" in page
    verdicts = re.findall(r'<span class="badge[^"]*">([^<]+)</span>', page)
    assert len(verdicts) == 12
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict != "dérive")
    distances = [float(text.replace(",", ".")) for text in re.findall(r'<td class="number">([\d,]+)</td>', page)]
    drifting = distances[: verdicts.count("dérive")]
    assert drifting == sorted(drifting, reverse=True)


async def test_a_period_is_chosen(browser, traffic):
    """By its first and last day, both included; a version by its name."""
    today = NOW.date()
    page = (await browser.get(f"/console/monitoring?since={today}&until={today}")).text
    assert "120 prédictions" in page
    assert f'name="until" value="{today}"' in page
    yesterday = today - timedelta(days=1)
    assert "Aucune prédiction" in (await browser.get(f"/console/monitoring?until={yesterday}")).text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=soon&until=later", 200),
        ("since=2026-03-02&until=2026-03-01", 422),
        ("since=2020-01-01", 422),
        ("until=9999-12-31", 200),
        ("model=nothing", 404),
    ],
)
async def test_a_period_that_cannot_be_is_refused_or_passed_over(browser, traffic, query, status):
    """As a page, in any case."""
    answer = await browser.get(f"/console/monitoring?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_what_happened_is_held_against_what_was_said(browser, traffic):
    """Realised figures, calibration by band with its interval, and the estimate with what it assumes."""
    page = html.unescape((await browser.get("/console/monitoring/performance")).text)
    assert "40 jugées" in page
    assert "120 encore à juger" in page
    assert page.count('class="line-gauge"') == 2
    high = page[page.index("Risque de départ élevé") :]
    assert "20 prédictions" in high
    assert high.count("50\u202f%") >= 2
    assert "L'estimation suppose" in page
    assert "0,83" in page  # ROC AUC: of the ten who left and the thirty who stayed, twenty stayers had less risk
