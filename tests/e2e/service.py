"""`churn serve` in a process of its own, and a way to wait for things without sleeping on a guess."""

import asyncio
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from tests.builders import LEAVER

from churn.client import AsyncClient

USERNAME, PASSWORD = "admin", "correct horse battery staple"
#: Seconds within which a service is ready on a busy machine, and within which one must have stopped.
START, STOP = 60.0, 10.0


async def eventually[T](condition: Callable[[], T], *, within: float) -> T:
    """The first true value of `condition`, which may be a coroutine function; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value: Any = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"{condition} did not hold within {within} s"
        await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(process: psutil.Process) -> bool:
    """Whether `process` is no more; nobody may have taken note of its end yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Service:
    """One run after another of `churn serve` over one data folder, on one port."""

    def __init__(self, folder: Path, *arguments: str, **settings: object) -> None:
        """`settings` are in the words of `Settings`; the password is set unless it is given, perhaps as None."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._settings = {"port": self.port, "data_dir": folder / "data", "admin_password": PASSWORD} | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def postmaster(self) -> psutil.Process:
        """The embedded PostgreSQL's first process."""
        lines = (self.folder / "data" / "postgresql-18" / "postmaster.pid").read_text().splitlines()
        return psutil.Process(int(lines[0]))

    @property
    def output(self) -> str:
        """What the last run has written to standard output."""
        return (self.folder / f"stdout-{self._runs}").read_text()

    @property
    def errors(self) -> str:
        """What the last run has written to standard error."""
        return (self.folder / f"stderr-{self._runs}").read_text()

    def launch(self) -> None:
        """Run, without waiting for anything."""
        self._runs += 1
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        environ |= {f"CHURN_{name.upper()}": str(value) for name, value in self._settings.items() if value is not None}
        with (
            (self.folder / f"stdout-{self._runs}").open("wb") as stdout,
            (self.folder / f"stderr-{self._runs}").open("wb") as stderr,
        ):
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("churn"), "serve", *self._arguments],
                cwd=self.folder,
                env=environ,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    async def start(self) -> Self:
        """Run, and wait until it is ready."""
        self.launch()
        async with httpx.AsyncClient(base_url=self.url) as client:

            async def ready() -> bool:
                assert self._process is not None
                assert self._process.poll() is None, self.errors
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, within=START)
        return self

    async def wait(self, *, within: float = STOP) -> int:
        """The exit code, once it has ended by itself."""
        assert self._process is not None
        process = self._process
        await eventually(lambda: process.poll() is not None, within=within)
        return process.returncode

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> int:
        """Ask it to stop, and wait: the exit code."""
        self.ask_to_stop()
        return await self.wait()

    def kill(self) -> None:
        """End it at once, as a power cut would: the workers too, but not PostgreSQL, which is a daemon."""
        assert self._process is not None
        workers = psutil.Process(self.pid).children()
        for process in (*workers, self._process):
            process.kill()
        self._process.wait()

    async def end(self) -> None:
        """Leave nothing running, whatever the test left."""
        if self._process is not None and self._process.poll() is None:
            await self.stop()

    def client(self, *, connections: int = 100) -> httpx.AsyncClient:
        """A client, signed in as the first account."""
        return httpx.AsyncClient(
            base_url=self.url,
            auth=(USERNAME, PASSWORD),
            timeout=30,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def typed_client(self) -> AsyncClient:
        """Ours, signed in as the first account."""
        return AsyncClient(self.url, (USERNAME, PASSWORD))


@asynccontextmanager
async def serving(folder: Path, *arguments: str, **settings: object) -> AsyncIterator[Service]:
    """A service that is ready, and that is stopped at the end."""
    service = Service(folder, *arguments, **settings)
    try:
        yield await service.start()
    finally:
        await service.end()


@dataclass
class Load:
    """What became of each request of `under_load`."""

    answered: list[str] = field(default_factory=list)
    """Ids of the predictions that were answered with 200: each must be found, whatever happens."""
    refused: list[httpx.Response] = field(default_factory=list)
    """Every other answer."""


@asynccontextmanager
async def under_load(service: Service, *, clients: int = 32) -> AsyncIterator[Load]:
    """Let `clients` ask for prediction after prediction meanwhile, whatever becomes of the service."""
    load = Load()

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            try:
                response = await client.post("/predict", json=LEAVER)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == 200:
                load.answered.append(response.json()["id"])
                continue
            if response is not None:
                load.refused.append(response)
            await asyncio.sleep(0.05)  # as a client that is told to come back would

    async with service.client(connections=clients) as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(clients)]
        try:
            yield load
        finally:
            for task in asking:
                task.cancel()
            ends = await asyncio.gather(*asking, return_exceptions=True)
    for end in ends:
        if not isinstance(end, asyncio.CancelledError):
            raise end


async def missing(service: Service, load: Load) -> set[str]:
    """Which of the answered ids are not in the history."""
    async with service.typed_client() as client:
        return set(load.answered) - {str(item.id) async for item in client.history()}
