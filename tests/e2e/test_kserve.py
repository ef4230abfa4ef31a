"""KServe's client of the Open Inference Protocol, against a running service."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.builders import LEAVER
from tests.e2e.service import Service
from tests.faults.load import basic
from tests.http.test_history import STAYER

pytestmark = pytest.mark.kserve

PYTHON = Path(__file__).parents[2] / "build/kserve/bin/python"


async def test_kserve_client(service: Service) -> None:
    """It finds the service and the model ready, gets the answers of `POST /predict`, and is refused what is wrong."""
    rows = [[1.0 if value == "Oui" else 0.0 if value == "Non" else float(value) for value in row.values()]
            for row in (LEAVER, STAYER)]  # fmt: skip
    client = await asyncio.create_subprocess_exec(
        *(PYTHON, Path(__file__).with_name("kserve_client.py"), service.url, basic()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await client.communicate(json.dumps({"columns": list(LEAVER), "rows": rows}).encode())
    found = json.loads(output)
    assert found["live"]
    assert found["ready"]
    assert found["model"]
    assert found["id"] == "42"
    assert "422" in found["refusal"]
    async with service.client() as http:
        alone = [(await http.post("/predict", json=row)).json() for row in (LEAVER, STAYER)]
    outputs = found["outputs"]
    assert outputs["probability"] == pytest.approx([answer["probability"] for answer in alone], abs=1e-12)
    assert outputs["prediction"] == [answer["prediction"] for answer in alone]
    assert outputs["risk"] == [answer["risk"] for answer in alone]
