"""The Hugging Face Space: what the deploy workflow pushes, built and run as the Hub would."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.builders import LEAVER
from tests.container.engine import ROOT, Run, docker

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the workflow would push."""
    folder = tmp_path_factory.mktemp("space") / "space"
    subprocess.run([ROOT / ".github/space/assemble", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def space_image(space: Path) -> Iterator[str]:
    """The image that the Hub would build."""
    tag = f"churn-test-{secrets.token_hex(4)}"
    docker("build", "--tag", tag, str(space))
    yield tag
    docker("rmi", "--force", tag)


def test_the_hub_can_read_it(space: Path) -> None:
    """Its README says that it is a Docker Space on port 7860, and every binary file in it goes through LFS."""
    front_matter = (space / "README.md").read_text().split("---\n")[1]
    card = yaml.safe_load(front_matter)
    assert (card["sdk"], card["app_port"]) == ("docker", 7860)
    assert len(card["short_description"]) <= 60
    through_lfs = {line.split()[0] for line in (space / ".gitattributes").read_text().splitlines()}
    binary = [path for path in space.rglob("*") if path.is_file() and b"\0" in path.read_bytes()]
    assert [path.name for path in binary if f"*{path.suffix}" not in through_lfs] == []


def test_it_serves_on_its_port(space_image: str, run: Run) -> None:
    """On port 7860, as uid 1000, with the password of the Space's secret, it answers the README's request."""
    container = run(space_image, port=7860)
    container.wait_until_healthy()
    assert container.execute("id", "-u") == "1000"
    with container.client() as http:
        assert http.post("/predict", json=LEAVER).json()["prediction"] == 1
    assert "lost at the next restart" not in container.logs()


def test_without_storage_it_serves_and_says_what_is_lost(space_image: str, run: Run) -> None:
    """When /data is not writable it serves from a temporary folder, and its log warns of it."""
    container = run(space_image, "--tmpfs", "/data:mode=0555", port=7860)
    container.wait_until_healthy()
    with container.client() as http:
        assert http.post("/predict", json=LEAVER).status_code == 200
    assert "lost at the next restart" in container.logs()
