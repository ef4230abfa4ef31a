"""The database that a command works on: the one of the settings, or the embedded one for as long as it lasts."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from churn.settings import Settings, SettingsError, read_settings


def settings_or_exit() -> Settings:
    """The settings of the environment; a mistake in them ends the command with a message."""
    try:
        return read_settings()
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """`settings` with a database URL in any case."""
    if settings.database_url:
        yield settings
        return
    # Imported only here: a service with a database server of its own does not need it.
    from churn.adapters.postgres.embedded import EmbeddedPostgres  # noqa: PLC0415

    try:
        server = EmbeddedPostgres(Path(settings.data_dir))
    except OSError as error:
        raise click.ClickException(
            f"{settings.data_dir} cannot be written ({error.strerror}); set CHURN_DATA_DIR or CHURN_DATABASE_URL"
        ) from error
    with ExitStack() as stack:
        try:
            stack.enter_context(server.running())
        except (subprocess.SubprocessError, AssertionError, OSError) as error:
            raise click.ClickException(
                f"the embedded PostgreSQL cannot start; its log is {settings.data_dir}/postgresql-*/log"
            ) from error
        yield replace(settings, database_url=server.url)


def database_at_hand(settings: Settings) -> str:
    """The URL of the database that is configured, or of the embedded one if it runs; none is started."""
    if settings.database_url or not embedded_database_exists(settings):
        return settings.database_url
    from churn.adapters.postgres.embedded import EmbeddedPostgres  # noqa: PLC0415

    server = EmbeddedPostgres(Path(settings.data_dir))
    return server.url if server.alive() else ""


def embedded_database_exists(settings: Settings) -> bool:
    """Whether an embedded database was ever started in the data folder."""
    return any(Path(settings.data_dir).glob("postgresql-*/PG_VERSION"))
