"""The manifests of deploy/kubernetes: valid, and saying what docs/scaling.md says."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from churn.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
#: The oldest release that the manifests are checked against, and the newest that the validator knows.
RELEASES = ("1.31", kubernetes_validate.latest_version())
RESOURCES = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]


def manifests() -> dict[str, dict[str, Any]]:
    documents = [yaml.safe_load((FOLDER / name).read_text()) for name in RESOURCES]
    return {document["kind"]: document for document in documents}


def pod_of(kind: str) -> dict[str, Any]:
    return manifests()[kind]["spec"]["template"]["spec"]


def test_every_file_is_applied() -> None:
    """The kustomization names every manifest that there is."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*RESOURCES, "kustomization.yaml"}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", ["Job", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_a_manifest_is_valid(kind: str, release: str) -> None:
    """Each manifest fits the schema of its kind, with no field that Kubernetes does not know."""
    kubernetes_validate.validate(manifests()[kind], release, strict=True)


def test_a_mistake_would_be_seen() -> None:
    """The validator refuses a field that is misspelt."""
    deployment = manifests()["Deployment"]
    deployment["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, RELEASES[0], strict=True)


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_a_pod_may_do_no_more_than_it_needs(kind: str) -> None:
    """Not root, no capability, a root file system that is read-only, no token of the cluster, bounded memory."""
    pod = pod_of(kind)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


def test_selectors_find_the_service_and_not_the_migration() -> None:
    """Service, disruption budget and network policy select the labels of the replicas, which the job's pod has not."""
    found = manifests()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["Job"]["spec"]["template"]["metadata"]["labels"].items().isdisjoint(labels.items())


def test_probes_and_times_fit_the_service() -> None:
    """Traffic follows `/readyz` and restarts `/livez`; a stop has time for the requests under way; one may go away."""
    found = manifests()
    pod = pod_of("Deployment")
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/livez"
    assert pod["terminationGracePeriodSeconds"] > 5 + Settings().shutdown_timeout
    assert found["Deployment"]["spec"]["replicas"] > found["PodDisruptionBudget"]["spec"]["minAvailable"] >= 1


def test_every_variable_is_a_setting() -> None:
    """What the manifests set in the environment is a setting of the service."""
    names = {f"CHURN_{name.upper()}" for name in Settings.__struct_fields__}
    for kind in ("Job", "Deployment"):
        (container,) = pod_of(kind)["containers"]
        assert {variable["name"] for variable in container.get("env", ())} <= names
