"""What the repository says about building and shipping; needs no engine, so it runs with `make test`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.container.engine import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


def load(workflow: Path) -> dict[Any, Any]:
    """A workflow; YAML takes its key `on` for true."""
    return yaml.safe_load(workflow.read_text())


def steps(workflow: Path) -> list[dict[str, Any]]:
    """Every step of every job."""
    return [step for job in load(workflow)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_must_end(workflow: Path) -> None:
    """Its token reads the contents and nothing else, and each job has a time limit."""
    document = load(workflow)
    assert document["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job and "permissions" not in job for job in document["jobs"].values())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_pinned_by_commit(workflow: Path) -> None:
    """Each `uses` names a full commit, and the version it belongs to in a comment."""
    uses = re.findall(r"uses: (.*)", workflow.read_text())
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


def test_ci_calls_targets_that_exist() -> None:
    """The `make` calls of the workflows and of `.ci/run` name targets of the Makefile; together they check all."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = [step.get("run", "") for workflow in WORKFLOWS for step in steps(workflow)]
    called = {name for script in scripts for names in re.findall(r"make ([a-z -]+)", script) for name in names.split()}
    local = set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert called | local <= targets
    assert called >= {"lint", "type", "docs", "test", "migrations", "test-browser", "test-container"}
    assert local == {"test", "ci"}


def test_no_secret_is_written_into_a_script() -> None:
    """A workflow hands secrets to its scripts in the environment, never in their text."""
    scripts = [step.get("run", "") for workflow in WORKFLOWS for step in steps(workflow)]
    assert [script for script in scripts if "${{" in script] == []


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_a_hash(requirements: Path) -> None:
    """Each line of a lock names one version and at least one digest, and none holds an address."""
    text = requirements.read_text()
    entries = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    assert entries
    assert [line for line in entries if not re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in text


def test_every_npm_package_is_pinned_with_a_hash() -> None:
    """Each package of the lock has a version and a digest, and none an address to fetch it from."""
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_a_decision_names_what_keeps_it() -> None:
    """Each page of docs/adr is in its index and ends with tests or lints that exist."""
    index = (ROOT / "docs/adr/index.md").read_text()
    pages = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert pages
    for page in pages:
        assert f"]({page.name})" in index
        enforced = page.read_text().rpartition("Enforced by:")[2]
        paths = re.findall(r"`((?:tests|pyproject)[\w./-]*)`", enforced)
        assert paths, page.name
        assert [path for path in paths if not (ROOT / path).exists()] == [], page.name
