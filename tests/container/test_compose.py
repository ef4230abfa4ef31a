"""The stack of compose.yaml."""

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.builders import LEAVER
from tests.container.engine import client, docker

pytestmark = pytest.mark.container


@dataclass(frozen=True)
class Stack:
    """A compose project of its own."""

    project: str
    port: str
    environment: dict[str, str]

    def compose(self, *arguments: str, **options: object) -> str:
        """What `docker compose` prints for this project."""
        return docker("compose", "--project-name", self.project, *arguments, env=self.environment, **options)

    def postgres(self, *command: str, **options: object) -> str:
        """What a command in the container of PostgreSQL prints."""
        return self.compose("exec", "-T", "postgres", *command, **options)

    def client(self) -> httpx.Client:
        """A client of its service."""
        return client(self.port)

    def predict(self) -> str:
        """Ask about the employee of the README and give back the prediction's id."""
        with self.client() as http:
            answer = http.post("/predict", json=LEAVER)
        assert answer.status_code == 200, answer.text
        assert answer.json()["prediction"] == 1
        return answer.json()["id"]

    def remembers(self, prediction: str) -> bool:
        """Whether the history has it."""
        with self.client() as http:
            return http.get(f"/predictions/{prediction}").status_code == 200


@pytest.fixture(scope="module")
def stack(image: str) -> Iterator[Stack]:
    """The stack, up and healthy; `image` has filled the build cache."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # A password that would break a URL.
    environment = {"POSTGRES_PASSWORD": f"p@ss/w:rd #{secrets.token_urlsafe(8)}", "PUBLISH": f"127.0.0.1:{port}"}
    stack = Stack(f"churn-test-{secrets.token_hex(4)}", port, environment)
    try:
        stack.compose("up", "--build", "--wait", "--wait-timeout", "120")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--timeout", "10")


def test_it_predicts_and_remembers(stack: Stack) -> None:
    """`docker compose up` answers the README's request, and the row is in the PostgreSQL of the stack."""
    prediction = stack.predict()
    assert stack.remembers(prediction)
    query = f"SELECT count(*) FROM prediction WHERE id = '{prediction}'"
    assert stack.postgres("psql", "--username=churn", "--no-align", "--tuples-only", f"--command={query}") == "1"


@pytest.mark.parametrize("again", [["restart"], ["down"]], ids=" ".join)
def test_the_history_outlives_the_containers(stack: Stack, again: list[str]) -> None:
    """Restarting the stack, or taking it down and up, loses no acknowledged prediction."""
    prediction = stack.predict()
    stack.compose(*again)
    stack.compose("up", "--wait", "--wait-timeout", "120")
    assert stack.remembers(prediction)


def test_a_backup_brings_the_history_back(stack: Stack, tmp_path: Path) -> None:
    """The pg_dump and pg_restore of docs/operations.md return the predictions made before the backup."""
    dump = tmp_path / "churn.dump"
    before = stack.predict()
    with dump.open("wb") as file:
        stack.postgres("pg_dump", "--username=churn", "--format=custom", "churn", stdout=file)
    after = stack.predict()
    stack.compose("stop", "churn")
    with dump.open("rb") as file:
        restore = ("pg_restore", "--username=churn", "--dbname=churn", "--clean", "--if-exists", "--single-transaction")
        stack.postgres(*restore, stdin=file)
    stack.compose("up", "--wait", "--wait-timeout", "120")
    assert stack.remembers(before)
    assert not stack.remembers(after)


def test_nothing_in_it_runs_with_more_than_it_needs(stack: Stack) -> None:
    """No process is root, the service cannot write to its root, and its port alone is published, on loopback."""
    for service in ("churn", "postgres"):
        assert stack.compose("exec", "-T", service, "id", "-u") != "0"
    stack.compose("exec", "-T", "churn", "sh", "-c", ": > /opt/churn/written", fails=True)
    assert stack.compose("port", "churn", "8000") == f"127.0.0.1:{stack.port}"
    assert stack.compose("port", "postgres", "5432").endswith(":0")


def test_it_has_no_password_of_its_own(stack: Stack) -> None:
    """Without the two passwords compose refuses, and says which variable to set."""
    for name in ("POSTGRES_PASSWORD", "CHURN_ADMIN_PASSWORD"):
        values = {"POSTGRES_PASSWORD": "set", "CHURN_ADMIN_PASSWORD": "set"} | {name: ""}
        said = docker("compose", "--env-file", os.devnull, "config", "--quiet", env=values, fails=True)
        assert f"set {name} in .env" in said
