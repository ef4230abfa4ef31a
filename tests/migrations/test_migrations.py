"""The migrations: there, back, together, and exactly the tables of the code."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations


@pytest.fixture
async def empty_engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """A pool on a new database without a table."""
    admin = create_engine(postgres_url, pool_size=2)
    async with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("DROP DATABASE IF EXISTS migrating"))
        await connection.execute(text("CREATE DATABASE migrating"))
        url = make_url(postgres_url).set(database="migrating").render_as_string(hide_password=False)
        engine = create_engine(url, pool_size=5, statement_timeout=None)
        yield engine
        await engine.dispose()
        await connection.execute(text("DROP DATABASE migrating WITH (FORCE)"))
    await admin.dispose()


async def test_yield_the_tables_of_the_code(empty_engine: AsyncEngine, migrations_dir: str) -> None:
    """The migrations build exactly the tables that the code describes."""
    migrations = Migrations(empty_engine, migrations_dir)
    await migrations.upgrade()
    await migrations.check()


async def test_go_back_and_forth(empty_engine: AsyncEngine, migrations_dir: str) -> None:
    """Every migration can be undone, to an empty database, and done again."""
    migrations = Migrations(empty_engine, migrations_dir)
    await migrations.upgrade()
    newest = await migrations.current()
    await migrations.downgrade("base")
    assert await migrations.current() is None
    async with empty_engine.connect() as connection:
        left = await connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
        )
        assert left.all() == []
    await migrations.upgrade()
    assert await migrations.current() == newest


async def test_many_may_run_at_once(empty_engine: AsyncEngine, migrations_dir: str) -> None:
    """Processes that start at once wait for one another, and none of them fails."""
    await asyncio.gather(*(Migrations(empty_engine, migrations_dir).upgrade() for _ in range(4)))
    assert await Migrations(empty_engine, migrations_dir).complete()


async def test_tell_whether_this_release_can_work_with_the_database(
    empty_engine: AsyncEngine, migrations_dir: str
) -> None:
    """An empty database is not complete; this release's and a newer one are."""
    migrations = Migrations(empty_engine, migrations_dir)
    assert not await migrations.complete()
    await migrations.upgrade()
    assert await migrations.complete()
    async with empty_engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'a_later_one'"))
    assert await migrations.complete()
