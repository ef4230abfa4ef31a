"""Two replicas behind the proxy of deploy/compose.scaled.yaml, over one PostgreSQL."""

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from tests.builders import LEAVER, add_version
from tests.container.engine import PASSWORD, ROOT, docker, eventually
from tests.container.test_compose import Stack
from tests.e2e.service import free_port

pytestmark = pytest.mark.container

CLIENTS = 8
#: Failed sign-ins from one address, a minute and process.
FAILURES = 4
#: What a script in a replica prints: the status of a request to that replica itself.
ASK = """
import base64, json, sys, urllib.request, urllib.error
user, password, method, path, body = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:8000" + path, method=method, data=body.encode() or None)
request.add_header("authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
request.add_header("content-type", "application/json")
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.read().decode()]))
"""


@dataclass(frozen=True)
class ScaledStack(Stack):
    """The stack with the proxy before it."""

    changes: Path

    def compose(self, *arguments: str, **options: object) -> str:
        """See the base class."""
        files = ("compose.yaml", "deploy/compose.scaled.yaml", str(self.changes))
        return super().compose(*(part for file in files for part in ("--file", file)), *arguments, **options)

    def replicas(self) -> list[str]:
        """Their containers."""
        return self.compose("ps", "--quiet", "churn").splitlines()


def ask(
    replica: str, path: str, *, password: str = PASSWORD, user: str = "admin", body: object = None
) -> tuple[int, str]:
    """The status and the text that `replica` itself answers."""
    method, text = ("GET", "") if body is None else ("POST", json.dumps(body))
    said = docker("exec", replica, "python", "-c", ASK, user, password, method, path, text)
    status, answer = json.loads(said)
    return status, answer


def answered_by(replica: str) -> int:
    """How many predictions it has answered, by its log."""
    return sum('"/predict"' in line and '"status":200' in line for line in docker("logs", replica).splitlines())


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledStack]:
    """Two replicas, healthy, with a second version of the model."""
    folder = tmp_path_factory.mktemp("scaled")
    models = folder / "models"
    shutil.copytree(ROOT / "models", models)
    add_version(models, "second", shift=0.5)
    for path in (folder, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    changes = folder / "changes.yaml"
    settings = {"CHURN_MODELS_DIR": "/models", "CHURN_FAILED_LOGINS_PER_ADDRESS": str(FAILURES)}
    churn = {"volumes": [f"{models}:/models:ro"], "environment": settings}
    changes.write_text(yaml.safe_dump({"services": {"churn": churn}}))
    port, net = str(free_port()), secrets.randbelow(200)
    environment = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(12),
        "PUBLISH": f"127.0.0.1:{port}",
        "PROXY_SUBNET": f"172.30.{net}.0/24",
        "REPLICA_RANGE": f"172.30.{net}.0/25",
        "PROXY_ADDRESS": f"172.30.{net}.250",
    }
    stack = ScaledStack(f"churn-test-{secrets.token_hex(4)}", port, environment, changes)
    try:
        stack.compose("up", "--build", "--wait", "--wait-timeout", "180", "--scale", "churn=2")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--timeout", "10")


def under_load(stack: ScaledStack, act: Callable[[], object]) -> tuple[list[str], int]:
    """The ids that eight clients were answered while `act` ran, and how many requests failed."""
    stop = threading.Event()

    def send(_: int) -> tuple[list[str], int]:
        ids, failed = [], 0
        with stack.client() as http:
            while not stop.is_set():
                try:
                    answer = http.post("/predict", json=LEAVER)
                except httpx.TransportError:
                    failed += 1
                    continue
                if answer.status_code == 200:
                    ids.append(answer.json()["id"])
                else:
                    failed += 1
        return ids, failed

    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(send, number) for number in range(CLIENTS)]
        time.sleep(2)
        act()
        time.sleep(3)
        stop.set()
    results = [run.result() for run in runs]
    return [identifier for ids, _ in results for identifier in ids], sum(failed for _, failed in results)


def test_both_replicas_answer(stack: ScaledStack) -> None:
    """Requests to the one address are answered by either replica, and what one stored the other finds."""
    replicas = stack.replicas()
    assert len(replicas) == 2
    before = [answered_by(replica) for replica in replicas]
    ids = [stack.predict() for _ in range(20)]
    assert all(answered_by(replica) > count for replica, count in zip(replicas, before, strict=True))
    for replica in replicas:
        assert {ask(replica, f"/predictions/{identifier}")[0] for identifier in ids[:4]} == {200}


def test_a_replica_that_is_killed_costs_what_it_was_answering(stack: ScaledStack) -> None:
    """Killed under the load of eight clients, a replica takes at most the requests with it that it had in hand; what
    was answered is in the history, and when it is back it answers again."""
    victim, other = stack.replicas()
    ids, failed = under_load(stack, lambda: docker("kill", victim))
    assert failed <= CLIENTS
    assert len(ids) > 100
    with stack.client() as http:
        assert all(http.get(f"/predictions/{identifier}").status_code == 200 for identifier in ids[-50:])
    docker("start", victim)
    assert eventually(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", victim) == "healthy", within=90)
    before = answered_by(victim)

    def answers_again() -> bool:
        stack.predict()
        return answered_by(victim) > before

    assert eventually(answers_again, within=30)
    assert answered_by(other) > 0


def test_a_replica_that_stops_costs_nothing(stack: ScaledStack) -> None:
    """Stopped under load, as in an upgrade, a replica is left alone by the proxy before it goes: no request fails."""
    victim, _ = stack.replicas()
    ids, failed = under_load(stack, lambda: docker("stop", victim))
    assert failed == 0
    assert len(ids) > 100
    docker("start", victim)
    assert eventually(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", victim) == "healthy", within=90)


def test_a_password_change_is_seen_by_both(stack: ScaledStack) -> None:
    """A password that was changed through one replica is at once the only one on both, remembered credentials too."""
    old, new = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    with stack.client() as http:
        account = {"username": "carole", "password": old, "role": "analyst"}
        assert http.post("/users", json=account).status_code == 201
    replicas = stack.replicas()
    assert {ask(replica, "/predictions", user="carole", password=old)[0] for replica in replicas} == {200}
    with stack.client() as http:
        assert http.patch("/users/carole", json={"password": new}).is_success
    for replica in replicas:
        assert eventually(lambda r=replica: ask(r, "/predictions", user="carole", password=old)[0] == 401, within=5)
        assert ask(replica, "/predictions", user="carole", password=new)[0] == 200


def test_an_activation_is_seen_by_both(stack: ScaledStack) -> None:
    """A version that was activated through one replica answers on both."""
    with stack.client() as http:
        answer = http.post("/models/second/activate", json={"reason": "a test"})
    assert answer.is_success, answer.text
    for replica in stack.replicas():

        def version(replica: str = replica) -> str:
            return json.loads(ask(replica, "/predict", body=LEAVER)[1])["model_version"]

        assert eventually(lambda v=version: v() == "second", within=10)


def test_the_throttle_knows_the_clients_apart(stack: ScaledStack) -> None:
    """Who fails to sign in too often is told so under any `X-Forwarded-For`, and nobody else is."""

    def fail(number: int) -> int:
        with httpx.Client(base_url=f"http://127.0.0.1:{stack.port}", timeout=30) as http:
            return http.get(
                "/predictions",
                auth=(f"nobody{number}", "a wrong password"),
                headers={"x-forwarded-for": f"203.0.113.{number}"},
            ).status_code

    assert eventually(lambda: fail(secrets.randbelow(200)) == 429, within=120)
    for replica in stack.replicas():
        assert ask(replica, "/predictions", user="nobody", password="another wrong password")[0] == 401
