"""The image and what runs from it."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.container.engine import Container, Run, docker


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image, built from the work tree."""
    tag = f"churn-test-{secrets.token_hex(4)}"
    docker("build", "--file", "Containerfile", "--tag", tag, ".")
    yield tag
    docker("rmi", "--force", tag)


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts a container that is gone, with its volumes, after the test."""
    with ExitStack() as stack:

        def start(image: str, *options: str, port: int = 8000, password: bool = True) -> Container:
            name = f"churn-test-{secrets.token_hex(4)}"
            stack.callback(docker, "rm", "--force", "--volumes", name)
            hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
            secret = ("--env", "CHURN_ADMIN_PASSWORD") if password else ()
            published = ("--publish", f"127.0.0.1::{port}")
            docker("run", "--detach", "--name", name, *hardened, *secret, *published, *options, image)
            return Container(name, port)

        yield start
