"""`churn migrate`."""

import asyncio

import click

from churn.adapters.postgres.engine import create_engine
from churn.cli.database import database, settings_or_exit
from churn.domain.errors import ChurnError
from churn.settings import Settings


async def migrate_database(settings: Settings, *, downgrade_to: str | None = None, check: bool = False) -> str | None:
    """Bring the database of `settings` to the newest revision, or to an older one, and tell which it is at."""
    # Alembic takes a while to import, and most commands do without.
    from churn.adapters.postgres.migrations import Migrations  # noqa: PLC0415

    engine = create_engine(settings.database_url, pool_size=2, statement_timeout=None)
    try:
        migrations = Migrations(engine, settings.migrations_dir)
        if check:
            await migrations.check()
        elif downgrade_to is not None:
            await migrations.downgrade(downgrade_to)
        else:
            await migrations.upgrade()
        return await migrations.current()
    finally:
        await engine.dispose()


@click.command()
@click.option("--downgrade", metavar="REVISION", help="Go back instead: a revision, -1 for one step, or base.")
@click.option("--check", is_flag=True, help="Change nothing; fail unless the migrations yield this release's tables.")
def migrate(downgrade: str | None, *, check: bool) -> None:
    """Bring the database to this release's newest revision.

    Safe to run while the service runs, and by many at once: they wait for one another.
    """
    from alembic.util.exc import CommandError  # noqa: PLC0415

    with database(settings_or_exit()) as settings:
        try:
            revision = asyncio.run(migrate_database(settings, downgrade_to=downgrade, check=check))
        except (CommandError, ChurnError) as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"database at revision {revision or 'base'}")
