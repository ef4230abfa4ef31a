"""A PostgreSQL that a test can stop and freeze under the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil

from churn.adapters.postgres.embedded import POSTGRES_VERSION, PostgresServer


class Database:
    """A PostgreSQL that nobody watches over."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._server = PostgresServer(folder, postgres_version=POSTGRES_VERSION)
        self._server.start()

    @property
    def url(self) -> str:
        socket_dir = self._server.get_postmaster_info().socket_dir
        return f"postgresql+asyncpg://postgres@/postgres?host={quote(str(socket_dir), safe='')}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Shut down, so that every connection ends and no new one is taken; then started again."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Taking connections and answering nothing, like a machine that hangs."""
        postmaster = psutil.Process(self._server.get_postmaster_info().pid)
        processes = [postmaster, *postmaster.children()]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    @property
    def dsn(self) -> str:
        """Where it is, for asyncpg itself."""
        return self.url.replace("+asyncpg", "")

    def close(self) -> None:
        self._server.cleanup()
