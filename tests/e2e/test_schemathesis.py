"""The running service against its own OpenAPI document."""

import asyncio
import sys
from pathlib import Path

from tests.e2e.service import PASSWORD, Service

ANALYST = "schemathesis"


async def test_the_service_keeps_its_document(service: Service, tmp_path: Path) -> None:
    """Schemathesis, with all its checks, finds no request, valid or not, whose answer the document does not know."""
    # As an analyst: an admin would lock everyone out sooner or later.
    async with service.client() as client:
        account = {"username": ANALYST, "password": PASSWORD, "role": "analyst"}
        (await client.post("/users", json=account)).raise_for_status()
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", Path(__file__).with_name("schemathesis.toml")),
        *("run", f"{service.url}/openapi.json", "--auth", f"{ANALYST}:{PASSWORD}"),
        *("--checks", "all", "--mode", "all", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", "15", "--seed", "1", "--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    assert process.returncode == 0, report.decode()
