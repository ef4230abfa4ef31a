"""The `docker` command, and what the tests ask of a container. Without an engine they fail; they never skip."""

import os
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PASSWORD = secrets.token_urlsafe(16)


def docker(*arguments: str, fails: bool = False, env: dict[str, str] | None = None, **streams: Any) -> str:
    """What `docker` prints, on both streams; it must succeed, or with `fails` it must not."""
    done = subprocess.run(
        ["docker", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | streams,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"CHURN_ADMIN_PASSWORD": PASSWORD} | (env or {}),
    )
    said = (done.stdout or "").strip()
    if (done.returncode != 0) != fails:
        pytest.fail(f"docker {' '.join(arguments)} exited with {done.returncode}:\n{said[-4000:]}")
    return said


def eventually(holds: Callable[[], bool], *, within: float) -> bool:
    """Whether `holds` becomes true before `within` seconds have passed."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def client(port: str) -> httpx.Client:
    """A client of the service on `port`, signed in as the first account."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("admin", PASSWORD), timeout=10)


@dataclass(frozen=True)
class Container:
    """A container that publishes one port."""

    name: str
    port: int

    def inspect(self, template: str) -> str:
        """What `docker inspect` says."""
        return docker("inspect", "--format", template, self.name)

    def execute(self, *command: str) -> str:
        """What a command in the container prints."""
        return docker("exec", self.name, *command)

    def logs(self) -> str:
        """Both streams of its main process."""
        return docker("logs", self.name)

    def wait_until_healthy(self) -> None:
        """Return when its health check has passed."""
        if not eventually(lambda: self.inspect("{{.State.Health.Status}}") == "healthy", within=60):
            pytest.fail(f"{self.name} is not healthy:\n{self.logs()}")

    def client(self) -> httpx.Client:
        """A client of the service in it."""
        return client(docker("port", self.name, f"{self.port}/tcp").splitlines()[0].rpartition(":")[2])


Run = Callable[..., Container]
