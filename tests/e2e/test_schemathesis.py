"""The running service against its own OpenAPI document."""

import asyncio
import sys
from pathlib import Path

from tests.e2e.service import PASSWORD, USERNAME, Service


async def test_the_service_keeps_its_document(service: Service, tmp_path: Path) -> None:
    """Schemathesis, with all its checks, finds no request, valid or not, whose answer the document does not know."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{service.url}/openapi.json", "--auth", f"{USERNAME}:{PASSWORD}"),
        *("--checks", "all", "--mode", "all", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", "15", "--seed", "1", "--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    assert process.returncode == 0, report.decode()
