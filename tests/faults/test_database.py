"""PostgreSQL that is slow, locked, out of connections or out of disk. Stopped and frozen: tests/e2e/test_crash.py."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.e2e.database import Database
from tests.e2e.service import START, eventually, serving
from tests.faults.load import Answer, Record, percentile, predicting, rows
from tests.faults.test_kills import check

pytestmark = pytest.mark.faults

#: Seconds that one commit may take in these tests, and that a busy machine may add to an answer.
FLUSH_TIMEOUT, BUSY = 1.0, 8.0
#: Bytes: an empty database of PostgreSQL 18 with its log takes half of it.
VOLUME = 160 << 20


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "postgres")
    yield database
    database.close()


@asynccontextmanager
async def connected(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def more_confirmed(record: Record, number: int = 50) -> None:
    before = len(record.confirmed)
    await eventually(lambda: len(record.confirmed) > before + number, within=START)


def refused_in_time(answers: list[Answer]) -> None:
    """Each was told to come back, and soon enough to be of use."""
    assert answers
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert max(answer.seconds for answer in answers) < 2 * FLUSH_TIMEOUT + BUSY


async def test_slow_commits_are_slow_and_no_more(tmp_path: Path, database: Database) -> None:
    """When each statement takes half a second in PostgreSQL, every request is answered with 200 all the same."""
    async with serving(tmp_path, database_url=database.url) as service, connected(database) as connection:
        await connection.execute("""
            CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
                AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';
            CREATE TRIGGER dawdle BEFORE INSERT ON prediction FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
        """)
        async with predicting(service) as record:
            await more_confirmed(record)
        assert record.refused == []
        assert percentile(record.answers, 50) > 0.5
        check(record, await rows(service))


async def test_a_lock_costs_its_requests_and_no_others(tmp_path: Path, database: Database) -> None:
    """While somebody holds the table, predictions get a 503 in time; once it is free they succeed again."""
    settings = {"database_url": database.url, "history_flush_timeout": FLUSH_TIMEOUT}
    async with serving(tmp_path, **settings) as service, connected(database) as connection:
        async with predicting(service) as record:
            await more_confirmed(record)
            async with connection.transaction():
                await connection.execute("LOCK TABLE prediction IN ACCESS EXCLUSIVE MODE")
                await eventually(lambda: len(record.refused) > 50, within=START)
            refused_in_time(record.refused)
            await more_confirmed(record)
        check(record, await rows(service))


@asynccontextmanager
async def every_connection_of(database: Database) -> AsyncIterator[None]:
    """Take each connection that the server can give, those of the service too."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(connected(database))
        while True:
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    await stack.enter_async_context(connected(database))
            if not await first.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'churn'"
            ):
                break
        yield


async def test_out_of_connections(tmp_path: Path, database: Database) -> None:
    """When others have taken every connection, predictions get a 503 in time; once there are some they succeed."""
    settings = {"database_url": database.url, "history_flush_timeout": FLUSH_TIMEOUT}
    async with serving(tmp_path, **settings) as service:
        async with predicting(service) as record:
            await more_confirmed(record)
            async with every_connection_of(database):
                record.answers.clear()
                await eventually(lambda: len(record.refused) > 50, within=START)
                async with service.client() as client:
                    assert (await client.get("/readyz")).status_code == 503
            refused_in_time(record.refused)
            await more_confirmed(record)
        check(record, await rows(service))


@contextmanager
def volume(folder: Path) -> Iterator[Path]:
    """A file system of its own, which can be filled without harm to any other."""
    folder.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    options = f"size={VOLUME},mode=0755,uid={os.geteuid()},gid={os.getegid()}"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        # Lazily: PostgreSQL's last processes may still be on their way out.
        subprocess.run([*sudo, "umount", "--lazy", folder], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))


async def test_a_full_disk(tmp_path: Path) -> None:
    """When PostgreSQL's volume is full, predictions get a 503 and none is acknowledged that is not kept; once there
    is room they succeed, with no hand laid on the service."""
    with volume(tmp_path / "volume") as folder:
        async with serving(tmp_path, data_dir=folder) as service:
            async with predicting(service) as record:
                await more_confirmed(record)
                ballast = folder / "ballast"
                deadline = time.monotonic() + START
                while not record.refused:
                    # Until PostgreSQL needs a block more than it has: it keeps some that it has had before.
                    assert time.monotonic() < deadline, "the volume does not fill"
                    fill(ballast)
                    await asyncio.sleep(0.05)
                assert shutil.disk_usage(folder).free < 1 << 20
                await eventually(lambda: len(record.refused) > 20, within=START)
                assert {answer.status for answer in record.refused} == {503}
                ballast.unlink()
                await more_confirmed(record)
            check(record, await rows(service))
            assert psutil.pid_exists(service.pid)
