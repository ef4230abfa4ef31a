"""A year of a company, through the real service: `make year`.

Twenty employees a working day are predicted over HTTP, in a clock that is a year ahead of its time. Until July they are
like the training data and leave as often as the model says. In August a wave of younger people with more overtime
arrives (a drift that can be seen at once), and everybody's odds of leaving double (which only outcomes can tell). HR
reports on the 15th who had left by the end of the month before and who was still there, so what is known is two to six
weeks late, and one in twenty is forgotten.
The model is checked on Mondays, and a webhook is told.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import uvicorn
from msgspec.structs import replace

from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.cli.migrate import migrate_database
from churn.cli.monitor import show_drift, show_performance
from churn.container import build_container
from churn.domain.account import Role
from churn.domain.drift import DriftReport
from churn.domain.employee import FEATURES
from churn.domain.outcome import horizon_end
from churn.domain.performance import Performance, PerformanceReport
from churn.http.app import create_app
from churn.settings import Settings
from churn.training.data import public_data
from churn.use_cases.rebuild_counts import RebuiltCounts

YEAR = 2025
DRIFT_MONTH = 8
HORIZON = 3
PASSWORD = "a password for the year"
KEY = "whsec_" + "QUJD" * 8
AGE, OVERTIME = FEATURES.index("age"), FEATURES.index("heures_supp")
#: Whole numbers on the wire.
WHOLE = {
    "age",
    "satisfaction_environnement",
    "annees_promo",
    "satisfaction_equilibre",
    "pee",
    "poste_actuel",
    "anciennete",
}


class ScriptedClock:
    """Shows the moment it is set to; lengths of time are real."""

    def __init__(self, now: datetime) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Person:
    ref: str
    predicted_at: datetime
    left_on: date | None
    seen: bool
    """Whether HR will ever say that this person is still there."""
    known: bool = False


@dataclass
class Story:
    """What the reports said, and when."""

    drift: list[DriftReport] = field(default_factory=list)
    """Of each month, on the first day of the next."""
    august: Performance | None = None
    """Of the month of the drift, on the first day of the next: an estimate."""
    performance: PerformanceReport | None = None
    """Of the year, on its last day."""
    alerts: list[tuple[date, dict[str, Any]]] = field(default_factory=list)
    """What the webhook was told."""
    left: dict[int, int] = field(default_factory=dict)
    """How many of each month's employees will have left within the horizon: the simulated truth."""
    rebuilt: RebuiltCounts | None = None
    """What a rebuild of the counts found in the end."""


@asynccontextmanager
async def webhook(clock: ScriptedClock, story: Story) -> AsyncIterator[str]:
    """A receiver that notes what it is told."""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        story.alerts.append((clock.now().date(), json.loads(await reader.readexactly(length))))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def served(settings: Settings, clock: ScriptedClock) -> AsyncIterator[str]:
    """The service on a port of its own."""
    config = uvicorn.Config(
        create_app(settings, clock=clock), host="127.0.0.1", port=0, log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait for
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


async def live(settings: Settings, *, a_day: int = 20, seed: int = 0) -> Story:
    """The year, through the service over a migrated and empty database."""
    story, clock = Story(), ScriptedClock(datetime(YEAR, 1, 1, 6, tzinfo=UTC))
    async with webhook(clock, story) as url:
        settings = replace(
            settings,
            outcome_horizon=HORIZON,
            monitor_interval=0.0,
            alert_webhook_url=url,
            alert_webhook_secret=KEY,
        )
        # Another process of the same service: the one that cron starts.
        cron = build_container(settings, clock=clock)
        for username, role in (("anne", Role.ANALYST), ("root", Role.ADMIN)):
            await cron.create_account()(username, PASSWORD, role, by="year")
        async with (
            served(settings, clock) as base_url,
            httpx.AsyncClient(base_url=base_url, auth=("anne", PASSWORD), timeout=60) as anne,
            httpx.AsyncClient(base_url=base_url, auth=("root", PASSWORD), timeout=60) as root,
        ):
            people: list[Person] = []
            rng = np.random.default_rng(seed)
            for n in range(365):
                clock.moment = datetime(YEAR, 1, 1, 6, tzinfo=UTC) + timedelta(days=n)
                if clock.moment.day == 1 and n:
                    story.drift.append(await drift(anne, clock.moment.date()))
                    if clock.moment.month == DRIFT_MONTH + 1:
                        story.august = (await performance(anne)).months[-1]
                if clock.moment.day == 15:
                    await report_outcomes(anne, people, clock.moment.date())
                if clock.moment.weekday() == 0:
                    await cron.raise_alerts()((await cron.check_model()()).findings)
                if clock.moment.weekday() < 5:
                    clock.moment += timedelta(hours=3)
                    people += await predict(anne, clock, len(people), a_day, rng)
                if (clock.moment.month, clock.moment.day) == (6, 20):
                    (await root.delete(f"/employees/{people[0].ref}")).raise_for_status()
            clock.moment = datetime(YEAR + 1, 1, 1, 6, tzinfo=UTC)
            story.drift.append(await drift(anne, clock.moment.date()))
            story.performance = await performance(anne)
        story.rebuilt = await cron.rebuild_counts()()
        await cron.engine().dispose()
    for person in people:
        month = person.predicted_at.month
        story.left[month] = story.left.get(month, 0) + (person.left_on is not None)
    return story


async def predict(
    anne: httpx.AsyncClient, clock: ScriptedClock, known: int, a_day: int, rng: np.random.Generator
) -> list[Person]:
    """The predictions of one day, some of which are reviewed, and what will become of the people."""
    drifted = clock.moment.month >= DRIFT_MONTH
    rows = rng.choice(public_data().features, size=a_day)
    if drifted:
        rows[:, AGE] = np.maximum(rows[:, AGE] - 4, 18)
        rows[:, OVERTIME] = np.maximum(rows[:, OVERTIME], rng.random(a_day) < 0.2)

    async def one(k: int) -> Person:
        body: dict[str, Any] = {"employee_ref": f"E-{known + k:05}"}
        for name, value in zip(FEATURES, rows[k].tolist(), strict=True):
            body[name] = int(value) if name in WHOLE else value
        body["heures_supp"] = "Oui" if rows[k, OVERTIME] else "Non"
        answer = (await anne.post("/predict", json=body)).raise_for_status().json()
        if answer["prediction"] and fate[k, 0] < 0.3:
            decision = "overridden" if fate[k, 1] < 0.3 else "accepted"
            review = {"decision": decision, "reason": "Entretien avec la personne."}
            (await anne.post(f"/predictions/{answer['id']}/review", json=review)).raise_for_status()
        p = answer["probability"]
        if drifted:
            p = 2 * p / (1 + p)  # twice the odds
        end = horizon_end(clock.moment, months=HORIZON)
        days = (end - clock.moment.date()).days
        leaves = fate[k, 2] < p
        return Person(
            ref=body["employee_ref"],
            predicted_at=clock.moment,
            left_on=clock.moment.date() + timedelta(days=1 + int(fate[k, 3] * days)) if leaves else None,
            seen=fate[k, 4] >= 0.05,
        )

    fate = rng.random((a_day, 5))
    return list(await asyncio.gather(*map(one, range(a_day))))


async def report_outcomes(anne: httpx.AsyncClient, people: list[Person], today: date) -> None:
    """HR's letter, as of the end of the month before: who had left, and who was still there when the horizon ended."""
    rows = []
    end = today.replace(day=1) - timedelta(days=1)
    for person in people:
        if person.known:
            continue
        left = person.left_on is not None and person.left_on <= end
        stayed = person.left_on is None and person.seen and horizon_end(person.predicted_at, months=HORIZON) <= end
        if left or stayed:
            observed_on = person.left_on or end
            rows.append({"employee_ref": person.ref, "left": left, "observed_on": observed_on.isoformat()})
            person.known = True
    if rows:
        (await anne.post("/outcomes", json=rows)).raise_for_status()


async def drift(anne: httpx.AsyncClient, until: date) -> DriftReport:
    """The report of the month before `until`."""
    since = (until - timedelta(days=1)).replace(day=1)
    query = {"since": since.isoformat(), "until": until.isoformat()}
    answer = (await anne.get("/monitoring/drift", params=query)).raise_for_status()
    return msgspec.json.decode(answer.content, type=DriftReport)


async def performance(anne: httpx.AsyncClient) -> PerformanceReport:
    """The report of the year so far."""
    answer = (await anne.get("/monitoring/performance", params={"since": f"{YEAR}-01-01"})).raise_for_status()
    return msgspec.json.decode(answer.content, type=PerformanceReport)


def tell(story: Story) -> None:
    """Print the reports."""
    print("Drift, month by month\n")
    for report in story.drift:
        columns = ", ".join(report.drifting) or "-"
        print(f"{report.since:%Y-%m}  {report.predictions:>4} predictions  {report.verdict.value:<7} {columns}")
    print(f"\nThe drift report of {story.drift[DRIFT_MONTH - 1].since:%B}\n")
    show_drift(story.drift[DRIFT_MONTH - 1])
    print("\nWhat the webhook was told\n")
    for day, alert in story.alerts:
        print(f"{day}  {alert['type']:<26} {', '.join(alert['data']['reasons'])}")
    print("\nPerformance, on the first day of the next year\n")
    assert story.performance is not None
    show_performance(story.performance)
    assert story.august is not None
    left, truth = story.august.estimated.left, story.left[DRIFT_MONTH]
    print(f"\nAugust, at its end: {left.estimate:.0f} will leave ({left.low:.0f} to {left.high:.0f}), by the estimate.")
    print(f"The truth of the simulation: {truth}.")
    assert story.rebuilt is not None
    wrong = sum(map(len, story.rebuilt.corrected.values()))
    print(f"Days whose counts a rebuild had to correct, after an erasure: {wrong}.")


async def _run(settings: Settings, *, a_day: int, seed: int) -> None:
    await migrate_database(settings)
    tell(await live(settings, a_day=a_day, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--a-day", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        with server.running():
            asyncio.run(_run(Settings(database_url=server.url), a_day=arguments.a_day, seed=arguments.seed))


if __name__ == "__main__":
    main()
