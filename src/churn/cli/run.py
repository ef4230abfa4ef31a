"""How a command does its work: on the parts of the service, and on its database, brought up to date."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable

import click

from churn.cli.database import database, settings_or_exit
from churn.cli.migrate import migrate_database
from churn.container import Container, build_container
from churn.domain.errors import ChurnError
from churn.settings import Settings


def run[T](work: Callable[[Container], Awaitable[T]]) -> T:
    """What comes of `work` under the settings of the environment; an error ends the command with its message."""
    try:
        with database(settings_or_exit()) as settings:
            return asyncio.run(_work(settings, work))
    except ChurnError as error:
        raise click.ClickException(str(error)) from error


def actor() -> str:
    """Who runs the command, as the log of activations and the audit trail name them."""
    try:
        return f"cli:{getpass.getuser()}"
    except OSError:  # a container's user need not have a name
        return "cli:"


async def _work[T](settings: Settings, work: Callable[[Container], Awaitable[T]]) -> T:
    await migrate_database(settings)
    container = build_container(settings)
    try:
        return await work(container)
    finally:
        await container.engine().dispose()
