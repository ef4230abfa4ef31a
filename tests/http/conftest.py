"""The real application, over a real PostgreSQL, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from litestar.types import ASGIApp
from msgspec.structs import replace
from sqlalchemy import make_url, text

from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations
from churn.container import build_container
from churn.domain.account import Role
from churn.http.app import create_app
from churn.settings import Settings

# A deadline would measure the machine, and whether anything else runs on it.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")

#: Whom tests may sign in as, by role; the password is the same.
ACCOUNTS = {Role.ANALYST: "anne", Role.ADMIN: "root"}
PASSWORD = "correct horse battery staple"

type Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start `app` and stop it, as a server does."""
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    assert await sent.get() == {"type": "lifespan.startup.complete"}
    yield
    await received.put({"type": "lifespan.shutdown"})
    assert await sent.get() == {"type": "lifespan.shutdown.complete"}
    await running


@asynccontextmanager
async def serving(settings: Settings, /, **changes: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client, signed in as the analyst, of a service of its own under `settings` with `changes`."""
    app = create_app(replace(settings, **changes))
    async with lifespan(app), connect(app, Role.ANALYST) as client:
        yield client


def connect(app: ASGIApp, role: Role | None) -> httpx.AsyncClient:
    """A client of `app`, signed in as the account of `role`."""
    auth = None if role is None else httpx.BasicAuth(ACCOUNTS[role], PASSWORD)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://churn.test", auth=auth)


async def new_database(postgres_url: str, migrations_dir: str, name: str) -> Settings:
    """Settings that name a database of our own, with an account of each role: nobody else empties it."""
    admin = create_engine(postgres_url, pool_size=2)
    async with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await admin.dispose()
    settings = Settings(database_url=make_url(postgres_url).set(database=name).render_as_string(hide_password=False))
    engine = create_engine(settings.database_url, pool_size=2, statement_timeout=None)
    await Migrations(engine, migrations_dir).upgrade()
    await engine.dispose()
    container = build_container(settings)
    for role, username in ACCOUNTS.items():
        await container.create_account()(username, PASSWORD, role, by="tests")
    await container.engine().dispose()
    return settings


@pytest.fixture(scope="session")
async def settings(postgres_url: str, migrations_dir: str) -> Settings:
    """What all tests share, but for those that change what all see."""
    return await new_database(postgres_url, migrations_dir, "http")


@pytest.fixture(scope="session")
def serve(settings: Settings) -> Serve:
    """Serves under other settings: `async with serve(max_body_size=1024) as client`."""
    return partial(serving, settings)


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[ASGIApp]:
    """The application, which all tests share: a credential is verified once, and remembered."""
    app = create_app(settings)
    async with lifespan(app):
        yield app


@pytest.fixture(scope="session")
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in as the analyst."""
    async with connect(app, Role.ANALYST) as client:
        yield client


@pytest.fixture(scope="session")
async def admin(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in as the administrator."""
    async with connect(app, Role.ADMIN) as client:
        yield client


@pytest.fixture(scope="session")
async def stranger(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in as nobody."""
    async with connect(app, None) as client:
        yield client
