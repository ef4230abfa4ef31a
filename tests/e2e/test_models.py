"""A change of model while two workers are busy, by HTTP and by command."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import LEAVER, add_version
from tests.e2e.service import Service, eventually, serving

from churn.adapters.joblib_model.bundle import active_version
from churn.settings import Settings

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)
#: Seconds within which a decision must have reached every worker.
PROMISED = 2.0
CLIENTS = 8


class Answer(NamedTuple):
    asked_at: float
    id: str
    model_version: str


@asynccontextmanager
async def asking(service: Service) -> AsyncIterator[list[Answer]]:
    """Let clients ask for prediction after prediction meanwhile; each must be answered with 200."""
    answers: list[Answer] = []
    enough = False

    async def ask() -> None:
        # A client of its own: its connection stays with the worker that took it.
        async with service.client(connections=1) as client:
            while not enough:
                asked_at = time.monotonic()
                response = await client.post("/predict", json=LEAVER)
                assert response.status_code == 200, response.text
                answer = response.json()
                answers.append(Answer(asked_at, answer["id"], answer["model_version"]))

    tasks = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    try:
        yield answers
    finally:
        enough = True
        failures = [end for end in await asyncio.gather(*tasks, return_exceptions=True) if end is not None]
    assert failures == []


async def command(service: Service, models: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`churn` beside the service, on its database."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
    environ |= {"CHURN_DATA_DIR": str(service.folder / "data"), "CHURN_MODELS_DIR": str(models)}
    churn = Path(sys.executable).with_name("churn")
    return await asyncio.to_thread(
        subprocess.run,
        [churn, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environ,
        cwd=service.folder,
    )


async def workers_serving(client: httpx.AsyncClient, version: str, role: str) -> set[str]:
    """The workers that say that they serve `version` in that role."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return {
        sample.labels["pid"]
        for family in families
        for sample in family.samples
        if sample.name == "churn_model_info"
        and sample.value == 1
        and (sample.labels["version"], sample.labels["role"]) == (version, role)
    }


async def versions_of(client: httpx.AsyncClient, answers: list[Answer]) -> dict[str, str]:
    """The version that the history has for each of the answers, by id."""
    wanted = {answer.id for answer in answers}
    found: dict[str, str] = {}
    parameters: dict[str, Any] = {"limit": 1000}
    while True:
        page = (await client.get("/predictions", params=parameters)).raise_for_status().json()
        found |= {item["id"]: item["model_version"] for item in page["items"] if item["id"] in wanted}
        if page["next_cursor"] is None:
            return found
        parameters["cursor"] = page["next_cursor"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = shutil.copytree(SHIPPED, tmp_path / "models")
    add_version(models, "other", shift=-1.0)
    add_version(models, "tampered")
    with (models / "tampered" / "model.joblib").open("ab") as model:
        model.write(b"\0")
    return models


async def test_versions_change_under_load(tmp_path: Path, models: Path) -> None:
    """Under load on two workers: an activation reaches both in two seconds, a refused bundle changes nothing, a
    rollback from the command line goes back, the shadow's agreement is reported, no request fails, and every row
    carries the version that answered it."""
    async with serving(tmp_path, "--workers", "2", models_dir=models) as service, service.client() as admin:
        workers = {str(process.pid) for process in psutil.Process(service.pid).children()}

        async def decided(version: str, since: float) -> None:
            """Every answer from the promised moment on is the new version's, and each worker says so."""
            await eventually(lambda: answers[-1].asked_at > since + PROMISED + 0.5, within=30)
            late = {answer.model_version for answer in answers if answer.asked_at > since + PROMISED}
            assert late == {version}
            serving_it = await workers_serving(admin, version, "active")
            assert len(serving_it) == 2
            assert serving_it <= workers

        async with asking(service) as answers:
            await eventually(lambda: len(answers) > 100, within=30)
            assert {answer.model_version for answer in answers} == {DEFAULT}

            response = await admin.post("/models/other/activate", json={"reason": "under load"})
            assert response.status_code == 200, response.text
            await decided("other", time.monotonic())

            since = time.monotonic()
            assert (await admin.post("/models/tampered/activate", json={"reason": "no"})).status_code == 409
            refused = await command(service, models, "models", "activate", "tampered", "--reason", "no")
            assert refused.returncode == 1
            assert "not the file that its manifest describes" in refused.stderr
            await decided("other", since)

            undone = await command(service, models, "models", "rollback", "--reason", "undo")
            assert undone.returncode == 0, undone.stderr
            await decided(DEFAULT, time.monotonic())

            assert (await admin.post("/models/other/shadow", json={"reason": "watch"})).status_code == 200

            async def both_shadow() -> bool:
                return len(await workers_serving(admin, "other", "shadow")) == 2

            await eventually(both_shadow, within=PROMISED)
            seen = len(answers)
            await eventually(lambda: len(answers) > seen + 200, within=30)

        async def agreement() -> dict[str, Any] | None:
            response = await admin.get("/models/compare", params={"a": DEFAULT, "b": "other"})
            found = response.raise_for_status().json()["agreement"]
            return found if found["n"] >= 200 else None

        found = await eventually(agreement, within=30)
        assert found["mean_absolute_difference"] > 0
        compared = await command(service, models, "models", "compare", DEFAULT, "other")
        assert "requests scored by both" in compared.stdout
        assert await versions_of(admin, answers) == {answer.id: answer.model_version for answer in answers}
        log = (await admin.get("/models/activations")).json()
        assert [(entry["action"], entry["version"]) for entry in log] == [
            ("activate", "other"),
            ("roll_back", DEFAULT),
            ("shadow", DEFAULT),
        ]
        assert '"level":"error"' not in service.errors


async def test_files_are_scored_with_what_a_running_service_has_activated(tmp_path: Path, models: Path) -> None:
    """A file is scored with the version that is active in the embedded database of a service that runs; once that has
    stopped, with the default, and a message says so."""
    employees = tmp_path / "employees.csv"
    employees.write_text(",".join(LEAVER) + "\n" + ",".join(map(str, LEAVER.values())) + "\n")
    unknown = "the embedded database does not run"
    async with serving(tmp_path, models_dir=models) as service:
        activated = await command(service, models, "models", "activate", "other", "--reason", "better")
        assert activated.returncode == 0, activated.stderr
        scored = await command(service, models, "score", str(employees))
        assert scored.returncode == 0, scored.stderr
        assert scored.stdout.endswith(",other\n")
        assert unknown not in scored.stderr
    scored = await command(service, models, "score", str(employees))
    assert scored.stdout.endswith(f",{DEFAULT}\n")
    assert unknown in scored.stderr
