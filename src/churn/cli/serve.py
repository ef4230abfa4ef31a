"""`churn serve`."""

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Final

import click
from msgspec.structs import replace

from churn.cli.database import database, settings_or_exit
from churn.domain.account import Role
from churn.domain.errors import ChurnError, UsernameTaken
from churn.settings import Settings

#: 144 bits, written as 24 characters.
_GENERATED_BYTES: Final = 18
#: Seconds in which a worker must show that it lives. One that starts is silent until it has imported everything, which
#: takes longer than uvicorn's 5 s the first time on a slow machine: it would be ended and started for ever.
_WORKER_PATIENCE: Final = 60


@click.command()
@click.option("--host", help="Address to listen on.  [CHURN_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [CHURN_PORT, 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes.  [CHURN_WORKERS, 1]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Start the database if it is the embedded one, migrate it, create the first account, and serve."""
    settings = settings_or_exit()
    settings = replace(
        settings, host=host or settings.host, port=port or settings.port, workers=workers or settings.workers
    )
    if settings.tracing and find_spec("opentelemetry") is None:
        raise click.ClickException("CHURN_TRACING needs the extra: install churn[otel]")
    _check_address(settings.host, settings.port)
    # uvicorn stops cleanly at SIGTERM, then lets the signal take its course: here, to the end of this function.
    signal.signal(signal.SIGTERM, _exit)
    # While PostgreSQL starts, which takes as long.
    importing = threading.Thread(target=_import_ahead, args=(settings,), daemon=True)
    importing.start()
    with ExitStack() as stack:
        # An interpreter that ends has its modules fail that are still being imported.
        stack.callback(importing.join)
        settings = stack.enter_context(database(settings))
        import uvicorn  # noqa: PLC0415

        from churn.cli.migrate import migrate_database  # noqa: PLC0415
        from churn.http.observability import configure_logging  # noqa: PLC0415
        from churn.http.protocol import PunctualProtocol  # noqa: PLC0415

        configure_logging(settings.log_level)
        try:
            asyncio.run(migrate_database(settings))
            password = asyncio.run(_create_first_account(settings))
        except ChurnError as error:
            raise click.ClickException(str(error)) from error
        _announce(settings, password)
        if settings.workers > 1:
            # Read by prometheus_client as it is imported, so it must be there before the workers are.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ.pop("CHURN_DATABASE_URL_FILE", None)
        os.environ["CHURN_DATABASE_URL"] = settings.database_url
        uvicorn.run(
            "churn.http.app:from_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            loop="uvloop",
            http=partial(PunctualProtocol, arrival_timeout=settings.request_timeout),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_graceful_shutdown=settings.shutdown_timeout,
            timeout_worker_healthcheck=_WORKER_PATIENCE,
        )


def _import_ahead(settings: Settings) -> None:
    """Import what is needed once PostgreSQL has started: both take a second."""
    for name in ("churn.http.observability", "churn.cli.migrate", "churn.adapters.postgres.migrations"):
        import_module(name)
    # Each worker imports these for itself, and prometheus_client, as it is imported, looks where workers keep counts.
    if settings.workers == 1:
        import_module("churn.http.app")


def _check_address(host: str, port: int) -> None:
    """Find out before anything is started, not after, that the address cannot be listened on."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _exit(_: int, __: FrameType | None) -> None:
    sys.exit(0)


async def _create_first_account(settings: Settings) -> str | None:
    """Create the first account if there is none; its password if it was generated here."""
    from churn.cli.run import actor  # noqa: PLC0415
    from churn.container import build_container  # noqa: PLC0415

    container = build_container(settings)
    try:
        if await container.users().all():
            return None
        password = settings.admin_password or secrets.token_urlsafe(_GENERATED_BYTES)
        try:
            await container.create_account()(settings.admin_username, password, Role.ADMIN, by=actor())
        except UsernameTaken:  # another replica starts at the same time, and was first
            return None
        return None if settings.admin_password else password
    finally:
        await container.engine().dispose()


def _announce(settings: Settings, password: str | None) -> None:
    click.echo(f"churn serves on http://{settings.host}:{settings.port}")
    click.echo(f"account   {settings.admin_username}")
    if password is not None:
        click.echo(f"password  {password}   (shown once: keep it)")
