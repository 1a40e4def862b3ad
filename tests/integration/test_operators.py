"""What operators see of the fleet, and do to deadlines and lost messages."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support import command_line
from tests.support.processes import environment, eventually, worker

pytestmark = pytest.mark.timeout(90)
FIELDS = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return environment(redis_url, "http://127.0.0.1:1/api")


def scaleout(env: dict[str, str], *arguments: str) -> tuple[int, Any, str]:
    done = command_line.scaleout(env, *arguments, "--json")
    return done.code, json.loads(done.out or "null"), done.err


def findings(env: dict[str, str]) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in scaleout(env, "doctor")[1]}


def submit(env: dict[str, str], request_id: str, *more: str) -> None:
    arguments = ["--request-id", request_id, "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1", *more]
    assert scaleout(env, "submit", *arguments)[0] == 0


def test_messages_that_nobody_reads_are_errors_of_doctor(env: dict[str, str], redis_url: str) -> None:
    with Celery(broker=redis_url, set_as_current=False) as client:
        for queue in ("scaleout", "celery"):
            client.send_task("scaleout.add_nodes", kwargs=FIELDS, queue=queue)

    found = findings(env)

    assert found["workers alive"]["status"] == "error"
    assert "1 messages wait in queue scaleout" in found["workers alive"]["detail"]
    assert found["queue celery"]["status"] == "error"
    assert "queue=scaleout" in found["queue celery"]["detail"]


def test_the_workers_say_who_they_are_and_which_policy_they_have(env: dict[str, str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[limits]\nnodes_per_hour = 5\n", encoding="utf-8")
    shell = {**env, "SCALEOUT_POLICY_FILE": str(policy)}
    assert scaleout(env, "workers")[:2] == (1, [])

    with worker(env, tmp_path / "worker.log", "-n", "one@here"):
        eventually(lambda: scaleout(env, "workers")[0] == 0, "it is known")
        (row,) = scaleout(env, "workers")[1]
        assert (row["name"], row["alive"], row["policy"]) == ("one@here", True, None)
        assert row["pid"]
        assert findings(env)["workers alive"]["status"] == "ok"
        assert findings(shell)["policies"]["status"] == "error"


def test_a_pause_says_whose_deadline_passes_and_moves_it(env: dict[str, str]) -> None:
    submit(env, "soon", "--deadline", "30m")
    before = scaleout(env, "status", "soon")[1]["deadline_at"]

    code, _, said = scaleout(env, "pause", "--for", "2h", "--reason", "racks")
    assert code == 0
    assert "1 requests will pass their deadline" in said

    _, _, said = scaleout(env, "pause", "--for", "2h", "--extend-deadlines", "--by", "ann")
    assert "the deadlines of 1 requests are 2h later" in said
    assert "will pass" not in said
    code, status, _ = scaleout(env, "status", "soon")
    assert code == 3
    assert status["deadline_at"] > before
    events = {line["event"]: line for line in scaleout(env, "history", "soon")[1]}
    assert events["deadline_extended"]["by"] == "ann"
    assert scaleout(env, "pause", "--extend-deadlines")[0] == 2


def test_a_request_that_times_out_in_a_pause_says_so(env: dict[str, str], tmp_path: Path) -> None:
    assert scaleout(env, "pause", "--reason", "moving racks")[0] == 0
    submit(env, "short", "--deadline", "1s")

    with worker(env, tmp_path / "worker.log"):
        code, ended, _ = scaleout(env, "wait", "short", "--timeout", "20s")

    assert (code, ended["state"]) == (1, "timed_out")
    assert "paused by" in ended["outcome"]["error"]["message"]


def test_a_data_loss_is_acknowledged_by_somebody(env: dict[str, str], server: redis.Redis) -> None:
    submit(env, "any")
    server.hset("scaleout:epoch", "lost", "1")

    assert scaleout(env, "doctor", "--acknowledge-data-loss")[0] == 2
    assert server.hexists("scaleout:epoch", "lost")
    scaleout(env, "doctor", "--acknowledge-data-loss", "--yes", "--by", "ann", "--reason", "compared")

    assert not server.hexists("scaleout:epoch", "lost")
    (event,) = (line for line in scaleout(env, "history", "--events")[1] if "acknowledged" in line["event"])
    assert (event["by"], event["reason"]) == ("ann", "compared")


def test_nothing_is_acknowledged_where_no_data_is_missing(env: dict[str, str], server: redis.Redis) -> None:
    submit(env, "any")

    code, _, err = scaleout(env, "doctor", "--acknowledge-data-loss", "--yes")

    assert (code, "nothing to acknowledge" in err) == (2, True)
    assert scaleout(env, "history", "--events")[1] == []


def test_the_list_shows_those_that_are_wanted(env: dict[str, str]) -> None:
    submit(env, "a", "--requested-by", "ann")
    submit(env, "b", "--requested-by", "bob")

    def listed(*wanted: str) -> list[str]:
        return [row["request_id"] for row in scaleout(env, "list", *wanted)[1]]

    assert listed("--requested-by", "bob") == ["b"]
    assert listed("--state", "waiting", "--cluster", "ehpc-a") == ["a", "b"]
    assert listed("--state", "held") == []
    assert listed("--cluster", "ehpc-other") == []


def test_a_dry_run_knows_what_would_keep_the_request_waiting(env: dict[str, str]) -> None:
    spec = ["--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1", "--dry-run"]
    assert scaleout(env, "submit", *spec)[1]["blocked_by"] == []
    scaleout(env, "pause", "--cluster", "ehpc-a", "--by", "ann", "--reason", "maintenance")

    code, answer, _ = scaleout(env, "submit", *spec)

    assert (code, answer["status"]) == (0, "accepted")
    (text,) = answer["blocked_by"]
    assert "paused by ann" in text
    assert "maintenance" in text


def test_doctor_names_the_oldest_request_and_what_it_waits_for(env: dict[str, str]) -> None:
    submit(env, "first")
    submit(env, "second")

    found = findings(env)["oldest request"]

    assert found["status"] == "ok"
    assert found["detail"].startswith("first, accepted ")
    assert " ago, is waiting: no worker has ticked" in found["detail"]


def test_a_list_finds_what_it_is_asked_for_however_many_there_are(env: dict[str, str]) -> None:
    for number in range(3):
        submit(env, f"r-{number}", "--requested-by", f"team-{number}")

    found = scaleout(env, "list", "--requested-by", "team-2", "--limit", "1")[1]
    done = command_line.scaleout(env, "list", "--limit", "2")

    assert [row["request_id"] for row in found] == ["r-2"]
    assert "2 of 3 shown" in done.err
    assert command_line.scaleout(env, "list", "--state", "ended").code == 2
    assert "with --ended it is" in command_line.scaleout(env, "list", "--state", "failed").err


def test_what_is_done_from_a_shell_is_in_the_workers_log_once(
    env: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    submit(env, "before", "--deadline", "1h")
    server.rpush("scaleout:acts", "of another version")
    scaleout(env, "pause", "--for", "1h", "--extend-deadlines", "--by", "ann")
    scaleout(env, "cancel", "before", "--by", "bob")
    names = ("request_accepted", "deadline_extended", "request_cancelled", "request_finished", "paused")

    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: all(running.events(name) for name in names), "all of it is in the log")
        submit(env, "after")
        eventually(lambda: len(running.events("request_accepted")) == 2, "and what comes later")
        found = {name: running.events(name) for name in names}

    assert [len(found[name]) for name in names] == [2, 1, 1, 1, 1]
    (cancelled,) = found["request_cancelled"]
    assert (cancelled["request_id"], cancelled["by"]) == ("before", "bob")
    assert "@" in cancelled["shell"]
