"""The pods of deploy/kubernetes are started as written and confined the same way, and serve requests."""

import json
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery

from tests.docs.test_kubernetes import FOLDER, documents
from tests.support.durable_server import DurableServer, durable_server
from tests.support.pod import Pod, Running, can_confine, running
from tests.support.ports import free_port
from tests.support.processes import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Simulator, eventually, simulator
from workers.gateway.clients import new_token

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_confine(), reason="only root may make these namespaces and mounts"),
]
POLICY = (FOLDER / "base/policy.toml").read_text(encoding="utf-8")
TOKEN, CLIENT = new_token("ann", "operate")


def spec_of(name: str, port_name: str, port_variable: str) -> dict[str, Any]:
    """A pod of the base, with a port that is free on this machine instead of its own."""
    (found,) = (
        one["spec"]["template"]["spec"]
        for _, one in documents("base")
        if one["kind"] == "Deployment" and one["metadata"]["name"] == name
    )
    spec: dict[str, Any] = deepcopy(found)
    (container,) = spec["containers"]
    port = free_port()
    (exposed,) = (one for one in container["ports"] if one["name"] == port_name)
    (variable,) = (one for one in container["env"] if one["name"] == port_variable)
    assert str(exposed["containerPort"]) == variable["value"]
    exposed["containerPort"], variable["value"] = port, str(port)
    return spec


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DurableServer]:
    with durable_server(tmp_path / "server") as started:
        yield started


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log") as started:
        yield started


def pod(spec: dict[str, Any], folder: Path, server: DurableServer, provider: Simulator) -> Pod:
    """A pod with its secrets and its policy, which reaches the server and the simulator."""
    keys = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY, "redis_url": server.url}
    files = {"secrets": keys, "tokens": {"gateway_tokens": CLIENT}, "policy": {"policy.toml": POLICY}}
    names = [one["name"] for one in spec["volumes"] if "emptyDir" not in one]
    more = {"SCALEOUT_API_URL": provider.api_url, "SCALEOUT_POLL_INTERVAL_S": "1"}
    made = Pod(spec, {name: folder / "volumes" / name for name in names}, more)
    for name in names:
        made.write(name, files[name])
    return made


def assert_confined(container: Running) -> None:
    status = container.status()
    assert (status["Uid"], status["Gid"]) == ("10001 10001 10001 10001", "10001 10001 10001 10001")
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["NSpid"].split()[-1]) == ("1", "1")
    assert container.writable() == {"/tmp"}
    for place in ("/", "/etc/scaleout", "/run/secrets/scaleout", "/usr", "/var"):
        assert container.run(["touch", f"{place}/written"], 10).returncode != 0, place
    assert container.run(["touch", "/tmp/written"], 10).returncode == 0


def ready(container: Running) -> bool:
    return container.probe("readinessProbe") == ""


def unready(container: Running) -> bool:
    return not ready(container)


def outcome_of(redis_url: str, request_id: str) -> Any:
    with Celery(broker=redis_url, backend=redis_url) as producer:
        fields = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 3}
        return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout").get(timeout=60)


def test_a_worker_and_a_gateway_serve_requests_in_their_confinement(
    tmp_path: Path, server: DurableServer, provider: Simulator
) -> None:
    worker_spec = spec_of("scaleout-worker", "metrics", "SCALEOUT_METRICS_PORT")
    gateway_spec = spec_of("scaleout-gateway", "http", "SCALEOUT_GATEWAY_PORT")
    worker_pod = pod(worker_spec, tmp_path / "worker", server, provider)
    gateway_pod = pod(gateway_spec, tmp_path / "gateway", server, provider)
    with (
        running(worker_pod, tmp_path / "worker/run") as worker,
        running(gateway_pod, tmp_path / "gateway/run") as gateway,
    ):
        worker.started()
        gateway.started()
        for container in (worker, gateway):
            assert_confined(container)
            assert container.probe("livenessProbe") == ""
            eventually(partial(ready, container), "it is ready")

        outcome = outcome_of(server.url, "from-celery")
        port = gateway_pod.environment()["SCALEOUT_GATEWAY_PORT"]
        url = f"http://127.0.0.1:{port}/v1/requests/from-celery"
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            shown = json.loads(answer.read())
        assert (outcome["nodes_added"], shown["nodes_added"], shown["state"]) == (3, 3, "succeeded")

        limit = tomllib.loads(POLICY)["limits"]["nodes_per_request"]
        loaded = len(worker.process.events("policy_loaded"))
        changed = POLICY.replace(f"nodes_per_request = {limit}", "nodes_per_request = 2")
        worker_pod.write("policy", {"policy.toml": changed}, "..2")
        eventually(lambda: len(worker.process.events("policy_loaded")) > loaded, "the policy is read again")
        assert outcome_of(server.url, "too-many")["status"] == "rejected"

        for container in (gateway, worker):
            code, after_s = container.terminate()
            assert code == 0, container.process.last_lines()
            assert after_s < container.pod.spec["terminationGracePeriodSeconds"] / 2


def test_an_outage_of_redis_restarts_no_pod(
    tmp_path: Path, server: DurableServer, provider: Simulator
) -> None:
    # Nothing is sent for as long as a call that was sent before the outage could still be executed.
    short = {"SCALEOUT_SIGNATURE_TTL_S": "3", "SCALEOUT_HTTP_TIMEOUT_S": "2", "SCALEOUT_LOG_LAG_S": "1"}
    pods = [
        replace(made, more={**made.more, **short})
        for name, *port in (
            ("scaleout-worker", "metrics", "SCALEOUT_METRICS_PORT"),
            ("scaleout-gateway", "http", "SCALEOUT_GATEWAY_PORT"),
        )
        for made in [pod(spec_of(name, *port), tmp_path / name, server, provider)]
    ]
    server.kill()
    with ExitStack() as stack:
        worker, gateway = pods
        containers = [stack.enter_context(running(worker, folder_of(tmp_path, worker)))]
        containers[0].started()
        assert not ready(containers[0])
        server.start()
        containers.append(stack.enter_context(running(gateway, folder_of(tmp_path, gateway))))
        containers[1].started()
        for container in containers:
            eventually(partial(ready, container), "it is ready once there is a server")
        server.kill()
        for container in containers:
            eventually(partial(unready, container), "it is not ready without a server")
            assert container.probe("livenessProbe") == ""
        server.start()
        assert outcome_of(server.url, "afterwards")["nodes_added"] == 3
        assert all(ready(container) for container in containers)


def folder_of(folder: Path, each: Pod) -> Path:
    return folder / f"run-{each.container['name']}"


def test_the_example_changes_nothing_of_its_pods_but_image_and_number() -> None:
    overlay = yaml.safe_load((FOLDER / "example/kustomization.yaml").read_text(encoding="utf-8"))

    assert overlay.keys() == {"apiVersion", "kind", "namespace", "resources", "images", "replicas"}
