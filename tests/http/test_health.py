"""`/livez` and `/readyz`: what an orchestrator is told."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
from sqlalchemy import make_url, text
from tests.builders import LEAVER
from tests.http.problem import problem_of

from churn.adapters.postgres.engine import create_engine
from churn.settings import Settings

type Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


async def test_a_process_that_answers_is_alive(stranger: httpx.AsyncClient) -> None:
    """`/livez` needs no account and asks nobody."""
    response = await stranger.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_is_ready_when_every_part_is(stranger: httpx.AsyncClient) -> None:
    """`/readyz` is 200 when the database, its migrations and the model are there."""
    response = await stranger.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {"running": "ok", "database": "ok", "migrations": "ok", "model": "ok"},
    }
    assert response.headers["cache-control"] == "no-store"


async def test_names_the_database_when_it_is_away(serve: Serve, settings: Settings) -> None:
    """Without its database a process is alive but not ready, and says what it lacks and when to ask again."""
    nowhere = make_url(settings.database_url).set(database="nowhere").render_as_string(hide_password=False)
    async with serve(database_url=nowhere) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json() == {
            "status": "unready",
            "checks": {"running": "ok", "database": "failed", "migrations": "failed", "model": "ok"},
        }
        assert (await client.get("/livez")).status_code == 200


async def test_names_the_migrations_when_they_are_missing(serve: Serve, settings: Settings) -> None:
    """On a database that was not migrated, exactly the migrations are what is missing."""
    admin = create_engine(settings.database_url, pool_size=2)
    async with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("CREATE DATABASE unmigrated"))
        url = make_url(settings.database_url).set(database="unmigrated").render_as_string(hide_password=False)
        async with serve(database_url=url) as client:
            response = await client.get("/readyz")
        await connection.execute(text("DROP DATABASE unmigrated WITH (FORCE)"))
    await admin.dispose()
    assert response.status_code == 503
    assert response.json()["checks"] == {"running": "ok", "database": "ok", "migrations": "failed", "model": "ok"}


async def test_names_the_model_when_it_is_missing(serve: Serve) -> None:
    """Without a model the service runs, says so, predicts nothing and stores nothing; the history can be read."""
    async with serve(model_version="2020-01-01-none") as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"] == {"running": "ok", "database": "ok", "migrations": "ok", "model": "failed"}
        problem_of(await client.post("/predict", json=LEAVER), 503)
        assert (await client.get("/predictions")).status_code == 200
