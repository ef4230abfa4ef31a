"""What was acknowledged survives: a crash of the service, of PostgreSQL or of both, and an outage."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.e2e.database import Database
from tests.e2e.service import START, ended, eventually, missing, serving, under_load

from churn.adapters.postgres.engine import CONNECT_TIMEOUT, PING_TIMEOUT

#: Seconds that one commit may take in these tests, and that PostgreSQL is away.
FLUSH_TIMEOUT, OUTAGE = 1.0, 5.0
#: Seconds that a busy machine may add; without the limits it would be half a minute and more.
BUSY = 8.0


@pytest.mark.parametrize(
    "victims", [{"service"}, {"postgres"}, {"service", "postgres"}], ids=["service", "postgres", "both"]
)
async def test_what_was_answered_survives_a_crash(tmp_path: Path, victims: set[str]) -> None:
    """Killed at a random moment under the load of 32 clients, and started again, the service finds every id that
    it answered with 200, and then ends cleanly."""
    moment = random.randint(50, 500)
    async with serving(tmp_path) as service:
        async with under_load(service) as load:
            await eventually(lambda: len(load.answered) > moment, within=30)
            postmaster = service.postmaster
            if "service" in victims:
                service.kill()
            if "postgres" in victims:
                postmaster.kill()
            if "service" in victims:
                await service.start()
            before = len(load.answered)
            await eventually(lambda: len(load.answered) > before + 50, within=START)
        assert await missing(service, load) == set()
        assert {response.status_code for response in load.refused} <= {503}
        postmaster = service.postmaster
        assert await service.stop() == 0
        assert ended(postmaster)


type Outage = Callable[[Database], AbstractContextManager[None]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "postgres")
    yield database
    database.close()


@pytest.mark.parametrize("outage", [Database.stopped, Database.frozen], ids=["stopped", "frozen"])
async def test_an_outage_of_the_database_is_survived(tmp_path: Path, database: Database, outage: Outage) -> None:
    """While PostgreSQL is away for five seconds, each request gets a 503 that says when to come back, in time and
    not as a wrong password; then the service recovers by itself, and no acknowledged prediction is lost."""
    settings = {"database_url": database.url, "history_flush_timeout": FLUSH_TIMEOUT}
    async with serving(tmp_path, **settings) as service, under_load(service) as load, service.client() as client:
        await eventually(lambda: len(load.answered) > 200, within=30)
        load.refused.clear()
        with outage(database):
            back = asyncio.get_running_loop().time() + OUTAGE
            unverified, readiness, history = await asyncio.gather(
                client.get("/predictions", auth=("anne", "correct horse battery staple")),
                client.get("/readyz"),
                client.get("/predictions"),
            )
            await asyncio.sleep(max(0.0, back - asyncio.get_running_loop().time()))
        before = len(load.answered)
        await eventually(lambda: len(load.answered) > before + 50, within=30)
        assert (await client.get("/readyz")).status_code == 200
        assert await missing(service, load) == set()

        # These ask on connections of their own: an idle one may have to be found broken first.
        for response in (unverified, readiness, history):
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert response.elapsed.total_seconds() < PING_TIMEOUT + CONNECT_TIMEOUT + BUSY
        assert readiness.json()["checks"]["database"] == "failed"
        assert load.refused
        for response in load.refused:
            assert response.status_code == 503, response.text
            assert int(response.headers["retry-after"]) >= 1
        # A request may come while a flush is failing, and then waits for the next.
        slowest = max(response.elapsed.total_seconds() for response in load.refused)
        assert slowest < 2 * FLUSH_TIMEOUT + BUSY
        assert await service.stop() == 0
