"""`churn serve`, from the first start to a clean stop."""

import os
import re
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import LEAVER
from tests.e2e.service import START, STOP, USERNAME, Load, Service, ended, eventually, missing, serving, under_load


async def test_the_first_start_says_all_that_is_needed(tmp_path: Path) -> None:
    """The first start prints the address, the account and a generated password; it works, also after a second
    start, which does not print it again."""
    service = Service(tmp_path, admin_password=None)
    try:
        await service.start()
        assert service.url in service.output
        assert USERNAME in service.output
        password = re.search(r"password\s+(\S{20,})", service.output)
        assert password is not None
        auth = (USERNAME, password[1])
        async with httpx.AsyncClient(base_url=service.url, auth=auth) as client:
            answer = await client.post("/predict", json=LEAVER)
            assert (answer.status_code, answer.json()["prediction"]) == (200, 1)
            assert await service.stop() == 0

            await service.start()
            assert service.url in service.output
            assert "password" not in service.output
            assert password[1] not in service.output + service.errors
            remembered = await client.get(f"/predictions/{answer.json()['id']}")
            assert remembered.json()["account"] == USERNAME
    finally:
        await service.end()


async def test_a_stop_under_load_drains(tmp_path: Path) -> None:
    """SIGTERM under load: the process ends with 0 within 10 s, PostgreSQL with it, every answered id is stored,
    and nothing is logged as an error."""
    service = Service(tmp_path)
    try:
        await service.start()
        async with under_load(service) as load:
            await eventually(lambda: len(load.answered) > 200, within=30)
            postmaster = service.postmaster
            assert await service.stop() == 0
        assert ended(postmaster)
        assert '"level":"error"' not in service.errors
        assert "Traceback" not in service.errors

        await service.start()
        assert await missing(service, load) == set()
    finally:
        await service.end()


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_a_stop_may_be_announced(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """With a delay, the service that is asked to stop says at once that it is not ready, and answers as ever."""
    service = Service(tmp_path, *arguments, shutdown_delay=4)
    try:
        await service.start()
        service.ask_to_stop()
        async with service.client() as client:

            async def unready() -> bool:
                readiness = await client.get("/readyz", headers={"connection": "close"})
                return readiness.status_code == 503 and readiness.json()["checks"]["running"] == "failed"

            await eventually(unready, within=3)
            assert (await client.post("/predict", json=LEAVER)).status_code == 200
        assert await service.wait(within=4 + STOP) == 0
    finally:
        await service.end()


async def test_who_asks_twice_does_not_wait(tmp_path: Path) -> None:
    """A second SIGTERM ends the delay."""
    service = Service(tmp_path, shutdown_delay=60)
    try:
        await service.start()
        service.ask_to_stop()
        async with service.client() as client:

            async def unready() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await eventually(unready, within=STOP)
        service.ask_to_stop()
        assert await service.wait() == 0
    finally:
        await service.end()


async def test_workers_share_everything(tmp_path: Path) -> None:
    """Two workers have one embedded database, whichever answers knows all predictions and all metrics, and both
    end cleanly."""
    async with serving(tmp_path, "--workers", "2") as service:
        workers = psutil.Process(service.pid).children()
        load = Load()
        for _ in range(40):
            async with service.client() as client:  # a new connection: any worker may take it
                load.answered.append((await client.post("/predict", json=LEAVER)).json()["id"])
        counts = set()
        for _ in range(10):
            async with service.client() as client:
                counts.add(predictions_counted((await client.get("/metrics")).text))
        assert counts == {40}
        assert await missing(service, load) == set()
        assert service.output.count("serves on") == 1
        assert await service.stop() == 0
        await eventually(lambda: all(map(ended, workers)), within=5)


def predictions_counted(metrics: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "churn_prediction_probability_count"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"admin_password": "short"}, "12 to 256 characters"),
        ({"database_url": "postgresql+asyncpg://nobody@127.0.0.1:9/none"}, "the database does not answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
async def test_a_start_that_cannot_be_says_why(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    """A setting that cannot be used ends the start with a message that names it, not with a traceback."""
    service = Service(tmp_path, **settings)
    try:
        service.launch()
        assert await service.wait(within=START) != 0
        assert message in service.errors
        assert "Traceback" not in service.errors
    finally:
        await service.end()


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one worker", "two workers"])
async def test_a_port_that_is_taken_is_named(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """When the port is taken the start fails at once and says so."""
    service = Service(tmp_path, *arguments)
    with socket.socket() as other:
        other.bind(("127.0.0.1", service.port))
        other.listen()
        try:
            service.launch()
            assert await service.wait(within=START) != 0
            assert str(service.port) in service.errors
            assert "Traceback" not in service.errors
            assert "serves on" not in service.output
        finally:
            await service.end()


async def test_ctrl_c_is_a_clean_stop_too(tmp_path: Path) -> None:
    """SIGINT, to the whole group as a terminal sends it, ends the service and PostgreSQL without a traceback."""
    async with serving(tmp_path) as service:
        postmaster = service.postmaster
        os.killpg(service.pid, signal.SIGINT)
        await service.wait()
        assert ended(postmaster)
        assert "Traceback" not in service.errors
