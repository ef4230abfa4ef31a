"""SIGKILL, again and again, under load: what a crash, a power cut or an impatient orchestrator does."""

import asyncio
import random
from functools import partial
from pathlib import Path

import psutil
import pytest
from tests.e2e.database import Database
from tests.e2e.service import START, Service, eventually, serving
from tests.faults.load import Record, predicting, rows

pytestmark = pytest.mark.faults

#: In each of five rounds: 50 and 10 in all.
KILLS = {"service": 10, "postgres": 2}
ROUNDS = range(5)
#: Seconds after which, at the latest, a victim that works again is killed again.
LONGEST_LIFE = 0.5


def check(record: Record, found: dict[str, list[str]]) -> None:
    """Nothing that was acknowledged is lost, and none is there twice."""
    lost = {reference for reference, found_as in record.confirmed.items() if found_as not in found.get(reference, ())}
    assert lost == set()
    # However often it was sent: under its key it is one prediction.
    doubled = {reference for reference, there in found.items() if len(there) > 1}
    assert doubled == set()


def postmaster_of(service: Service) -> psutil.Process | None:
    try:
        return service.postmaster
    except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
        return None


@pytest.mark.parametrize("seed", ROUNDS)
async def test_kills_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """After 10 SIGKILLs of the service and 2 of PostgreSQL, in any order and at any moment under load, every
    acknowledged prediction is in the history, under its id, and no request was refused with anything but a 503."""
    dice = random.Random(seed)
    victims = [victim for victim, times in KILLS.items() for _ in range(times)]
    dice.shuffle(victims)
    async with serving(tmp_path) as service:
        async with predicting(service) as record:
            for victim in victims:
                before = len(record.confirmed)
                await eventually(lambda before=before: len(record.confirmed) > before, within=START)
                await asyncio.sleep(dice.uniform(0, LONGEST_LIFE))
                if victim == "service":
                    service.kill()
                    await service.start()
                else:
                    # The one before may have been killed a moment ago, and its successor not yet be there.
                    postmaster = await eventually(partial(postmaster_of, service), within=START)
                    postmaster.kill()
            before = len(record.confirmed)
            await eventually(lambda: len(record.confirmed) > before, within=START)
        found = await rows(service)
        check(record, found)
        assert {answer.status for answer in record.refused} <= {503}
        print(f"{len(record.confirmed)} acknowledged, {sum(map(len, found.values()))} rows")  # noqa: T201
        assert await service.stop() == 0


async def test_a_replica_is_replaced_while_another_serves(tmp_path: Path) -> None:
    """Two replicas on one database are stopped and started in turn, as an upgrade does: clients that ask the other
    one when a connection ends are always answered, and nothing is lost."""
    database = Database(tmp_path / "postgres")
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    try:
        async with (
            serving(folders[0], database_url=database.url) as first,
            serving(folders[1], database_url=database.url) as second,
            predicting(first, second) as record,
        ):
            for replica in (first, second):
                before = len(record.confirmed)
                await eventually(lambda before=before: len(record.confirmed) > before + 100, within=START)
                assert await replica.stop() == 0
                before = len(record.confirmed)
                await eventually(lambda before=before: len(record.confirmed) > before + 100, within=START)
                await replica.start()
            before = len(record.confirmed)
            await eventually(lambda: len(record.confirmed) > before + 100, within=START)
            assert record.refused == []
            # The other replica is asked once, and answers.
            assert max(record.attempts.values()) <= 3
        async with serving(folders[0], database_url=database.url) as service:
            check(record, await rows(service))
    finally:
        database.close()
