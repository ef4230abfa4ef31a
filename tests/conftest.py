"""Fixtures over real parts: PostgreSQL is never mocked and never skipped."""

import gc
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import docker
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from testcontainers.community.postgres import PostgresContainer

from churn.adapters.memory import MemoryClock
from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations
from churn.adapters.postgres.tables import metadata
from churn.settings import Settings
from tests.builders import dask_cluster


@contextmanager
def _container() -> Iterator[str]:
    with PostgresContainer("postgres:17-alpine", driver="asyncpg") as container:
        yield container.get_connection_url()


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        with server.running():
            yield server.url


def _close_the_socket_of_the_docker_client() -> None:
    """The client leaves its socket to the garbage collector when no engine answers, which warns in some later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty PostgreSQL: in a container where a Docker engine answers and has the image, else from the wheel."""
    with ExitStack() as stack:
        url = None
        with suppress(docker.errors.DockerException):
            url = stack.enter_context(_container())
        if url is None:
            _close_the_socket_of_the_docker_client()
            url = stack.enter_context(_embedded())
        yield url


@pytest.fixture(scope="session")
def migrations_dir() -> str:
    """The folder of the migrations, as the service finds it."""
    return Settings().migrations_dir


@pytest.fixture(scope="session")
async def database_url(postgres_url: str, migrations_dir: str) -> str:
    """A database built by the migrations."""
    engine = create_engine(postgres_url, pool_size=2, statement_timeout=None)
    await Migrations(engine, migrations_dir).upgrade()
    await engine.dispose()
    return postgres_url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A pool on the migrated database, with every table empty."""
    engine = create_engine(database_url, pool_size=5)
    async with engine.begin() as connection:
        # As a superuser may: the audit trail lets nobody empty it otherwise.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """The scheduler of a Dask cluster of two worker processes."""
    with dask_cluster(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def clock() -> MemoryClock:
    """A clock that moves when it is told to."""
    return MemoryClock()
