"""The least rights on the server, as the page has them, suffice for everything that we do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.integration.test_command_line import scaleout
from tests.support.gateway import gateway
from tests.support.processes import ROOT, Simulator, environment, eventually, simulator, worker
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PAGE = (ROOT / "docs/how-to/tls.md").read_text(encoding="utf-8")
PATHS = ("requests", "pauses", "schedules", "quota", "stats", "workers", "doctor", "requests/r-2/history")
USERS = ("worker", "gateway", "shell", "producer")
POLICY = """
[limits]
nodes_per_day = 1000

[[schedule]]
name = "evening"
cron = "0 19 * * *"
cluster_id = "ehpc-b"
zone = "jn1a"
node_count = 2
"""


def rights(user: str, version: str) -> list[str]:
    """The rules of a user on the page, as it says for Redis 6.2, which has no rights to only read a key."""
    found = re.search(rf"^user {user} (.+)$", PAGE, re.MULTILINE)
    assert found, user
    rules = found.group(1)
    return (rules.replace("%R~", "~") if version.startswith("6.") else rules).split()


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with RedisServer(config={"appendonly": "yes", "appendfsync": "always"}) as valkey:
        client = redis.Redis(port=valkey.port, decode_responses=True)
        version = str(client.info("server")["redis_version"])
        for user in USERS:
            rules = rights(user, version)
            client.execute_command("ACL", "SETUSER", user, "reset", "on", f">{user}-word", *rules)  # type: ignore[no-untyped-call]
        yield client
        client.close()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log", signature_ttl_s=3) as running:
        yield running


def url(server: redis.Redis, user: str) -> str:
    port = server.connection_pool.connection_kwargs["port"]
    return f"redis://{user}:{user}-word@127.0.0.1:{port}/0"


def refused(server: redis.Redis) -> list[tuple[Any, ...]]:
    """What the server has refused, with whom and why."""
    log: Any = server.acl_log()
    return [(one["username"], one["reason"], one["object"]) for one in log]


def test_everything_works_with_the_rights_of_the_page(
    server: redis.Redis, provider: Simulator, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)

    def env(user: str) -> dict[str, str]:
        more = {"POLICY_FILE": policy, "SIGNATURE_TTL_S": 3, "HTTP_TIMEOUT_S": 2}
        return environment(url(server, user), provider.api_url, ADD_NODES_JOB_ACTION="AnotherName", **more)

    shell = env("shell")
    with (
        worker(env("worker"), tmp_path / "worker.log") as running,
        gateway(env("gateway"), tmp_path / "gateway.log") as http,
        Celery(broker=url(server, "producer"), backend=url(server, "producer")) as producer,
    ):
        eventually(lambda: bool(running.events("schedule_added")), "the schedule is in force")
        fields = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
        result = producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")
        assert result.get(timeout=40)["status"] == "succeeded"
        with redis.Redis.from_url(url(server, "producer"), decode_responses=True) as reading:
            assert json.loads(str(reading.get("scaleout:outcome:r-1")))["status"] == "succeeded"
            assert reading.xread({"scaleout:outcomes": "0"})
            for forbidden in ("scaleout:request:r-1", "scaleout:epoch"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    reading.delete(forbidden)
        server.acl_log_reset()
        assert http.post("/v1/requests", {**fields, "request_id": "r-2"}).status == 202
        assert http.get("/v1/requests/r-2?wait=30").json()["state"] == "succeeded"
        for path in (
            "requests",
            "pauses",
            "schedules",
            "quota",
            "stats",
            "workers",
            "doctor",
            "requests/r-2/history",
        ):
            assert http.get(f"/v1/{path}").status == 200, path
        assert http.get("/").status == http.get("/metrics").status == http.get("/readyz").status == 200
        place = ("--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1")
        for command in (
            ("submit", *place, "--request-id", "r-3", "--wait", "--timeout", "40"),
            ("submit", *place, "--dry-run"),
            ("status", "r-3"),
            ("list", "--ended"),
            ("history", "r-3"),
            ("history", "--events"),
            ("stats",),
            ("pause", "--for", "1h"),
            ("resume",),
            ("quota",),
            ("workers",),
            ("schedules",),
            ("webhooks", "list"),
            ("dead-letters", "list"),
            ("health",),
        ):
            done = scaleout(shell, *command)
            assert done.code == 0, (command, done.err)
        provider.post("faults", {"kind": "drop", "made": True, "cluster_id": "ehpc-held"})
        scaleout(
            shell,
            "submit",
            "--cluster",
            "ehpc-held",
            "--zone",
            "jn1a",
            "--nodes",
            "1",
            "--request-id",
            "held",
        )
        eventually(lambda: bool(running.events("operation_held")), "one is held")
        (evidence,) = scaleout(shell, "resolve", "held", "--json").json()
        job = evidence["candidates"][0]["job_id"]
        decided = scaleout(shell, "resolve", evidence["operation_id"], "--adopt", job, "--yes")
        assert decided.code == 0, decided.err
        assert scaleout(shell, "wait", "held", "--timeout", "40").code == 0
        scaleout(shell, "doctor", "--zone", "jn1a")
        seen = refused(server)

    assert seen == []
