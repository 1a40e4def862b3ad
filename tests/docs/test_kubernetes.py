"""The manifests, without a cluster: by Kubernetes' own schemas, and against what the code and Compose say."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.processes import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSION = "1.33"
OF_OPERATORS = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject", "Kustomization"}


def documents(*folders: str) -> list[tuple[Path, dict[str, Any]]]:
    paths = [path for folder in folders for path in sorted((FOLDER / folder).glob("*.yaml"))]
    return [
        (path, document)
        for path in paths
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document is not None
    ]


ALL = documents("base", "example", "monitoring")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in ALL if document["kind"] == kind]


def pods() -> list[dict[str, Any]]:
    return [
        one["spec"]["template"]["spec"] for kind in ("Deployment", "StatefulSet") for one in of_kind(kind)
    ]


@pytest.mark.parametrize(("path", "document"), ALL, ids=lambda one: getattr(one, "name", ""))
def test_every_document_is_valid(path: Path, document: dict[str, Any]) -> None:
    assert path.is_relative_to(FOLDER)
    if document["kind"] not in OF_OPERATORS:
        kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.mark.parametrize("folder", ["base", "example", "monitoring"])
def test_every_file_is_named_by_its_kustomization(folder: str) -> None:
    found = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    named = {name for name in found["resources"] if name.endswith(".yaml")}
    files = {file for one in found.get("configMapGenerator", ()) for file in one["files"]}
    there = {path.name for path in (FOLDER / folder).iterdir()} - {"kustomization.yaml"}

    assert named | files == there


def test_every_pod_is_confined() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= container.keys()


def test_selectors_meet_their_pods_and_every_pod_has_a_budget_and_a_policy() -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in (*of_kind("Deployment"), *of_kind("StatefulSet"))
    ]
    ours = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment")]
    budgets = [one["spec"]["selector"]["matchLabels"] for one in of_kind("PodDisruptionBudget")]
    policies = [one["spec"]["podSelector"]["matchLabels"] for one in of_kind("NetworkPolicy")]
    services = [one["spec"]["selector"] for one in of_kind("Service")]

    assert all(selector in labels for selector in (*budgets, *policies, *services))
    assert all(label in budgets for label in ours)
    assert all(label in policies for label in labels)


def test_pods_run_what_compose_runs_for_as_long() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for deployment in of_kind("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        service = compose[container["name"]]
        assert container["args"] == service["command"]
        assert f"{pod['terminationGracePeriodSeconds']}s" == service["stop_grace_period"]
        assert pod["securityContext"]["runAsUser"] == int(service["user"].partition(":")[0])


def test_alerts_of_the_operator_are_those_of_prometheus() -> None:
    (rule,) = of_kind("PrometheusRule")
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))

    assert rule["spec"] == alerts
