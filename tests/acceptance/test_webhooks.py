"""Webhooks with real workers, the simulator, and a receiver that verifies every delivery."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.test_command_line import scaleout
from tests.support.processes import Simulator, environment, eventually, worker
from tests.support.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path) as running:
        yield running


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


@pytest.fixture
def env(redis_url: str, provider: Simulator, policy: Path, hooks: Receiver) -> dict[str, str]:
    policy.write_text(hooks.table())
    given = environment(redis_url, provider.api_url, POLICY_FILE=policy)
    return {**given, "SSL_CERT_FILE": str(hooks.ca_file)}


def buy(env: dict[str, str], name: str, *options: str) -> None:
    done = scaleout(
        env, "submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1", "--request-id", name, *options
    )
    assert done.code == 0, done.err


def shown(env: dict[str, str]) -> dict[str, Any]:
    (found,) = scaleout(env, "webhooks", "list", "--json").json()
    return dict(found)


def test_an_outcome_a_pause_and_a_test_are_told_once(
    env: dict[str, str], hooks: Receiver, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--wait", "--timeout", "30")
        assert scaleout(env, "pause", "--reason", "moving").code == 0
        eventually(lambda: len(hooks.received) == 2, "both are told")
        tested = scaleout(env, "webhooks", "test", "billing")
        eventually(lambda: shown(env)["pending"] == 0, "nothing is pending")

    assert [outcome["request_id"] for outcome in hooks.of("outcome")] == ["r-1"]
    assert hooks.of("outcome")[0]["status"] == "succeeded"
    assert [(pause["cluster_id"], pause["reason"]) for pause in hooks.of("paused")] == [(None, "moving")]
    assert (tested.code, len(hooks.of("test"))) == (0, 1), tested.err
    state = shown(env)
    assert (state["delivered"], state["url"], hooks.refused) == (3, hooks.url.split("/hooks")[0], [])
    assert "of-the-receiver" not in running.text()


def test_only_what_is_wanted_is_told(
    env: dict[str, str], hooks: Receiver, policy: Path, tmp_path: Path
) -> None:
    policy.write_text(hooks.table(events=["outcome"], producers=["nightly-*"]))
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--requested-by", "somebody", "--wait", "--timeout", "30")
        buy(env, "r-2", "--requested-by", "nightly-batch", "--wait", "--timeout", "30")
        eventually(lambda: bool(hooks.received), "the second is told")

    assert [outcome["request_id"] for outcome in hooks.of("outcome")] == ["r-2"]


def test_a_failing_receiver_is_tried_again_in_order(
    env: dict[str, str], hooks: Receiver, tmp_path: Path
) -> None:
    answers = iter([(500, {}), (302, {"Location": hooks.url}), (429, {"Retry-After": "1"})])
    hooks.answer = lambda _: next(answers, (200, {}))
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--wait", "--timeout", "30")
        for number in (1, 2):
            eventually(lambda least=number: len(hooks.received) >= least, f"attempt {number}")  # type: ignore[misc]
            hurry(env)
        eventually(lambda: shown(env)["pending"] == 0, "all is told")

    assert (len(hooks.received), hooks.refused) == (4, [])
    assert len(set(hooks.ids())) == 1
    assert (shown(env)["delivered"], shown(env)["failures"]) == (1, 0)


def hurry(env: dict[str, str]) -> None:
    """Have what is pending tried now."""
    assert scaleout(env, "webhooks", "enable", "billing").code == 0
    server = redis.Redis.from_url(env["SCALEOUT_REDIS_URL"], decode_responses=True)
    for subject in server.zrange("scaleout:deliveries:billing", 0, -1):
        server.zadd("scaleout:deliveries:billing", {str(subject): 0})
    server.zadd("scaleout:due:all-else", {"webhook:billing": 0})
    server.close()


def test_nodes_that_come_late_are_told_with_the_outcome(
    env: dict[str, str], provider: Simulator, hooks: Receiver, tmp_path: Path
) -> None:
    # Long enough that the job has begun by the deadline on a busy machine, too.
    provider.post("options", {"job_duration_s": "16"})
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        place = ("--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1")
        scaleout(env, "submit", *place, "--request-id", "r-1", "--deadline", "12s")
        eventually(lambda: len(hooks.received) == 2, "its end and its nodes are told")

    (ended,), (late,) = hooks.of("outcome"), hooks.of("late_nodes")
    assert (ended["status"], ended["nodes_added"], ended["node_ids"]) == ("timed_out", 0, [])
    assert (late["status"], late["nodes_added"], len(late["node_ids"])) == ("timed_out", 1, 1)
    assert len(set(hooks.ids())) == 2


def test_gone_disables_until_somebody_enables(env: dict[str, str], hooks: Receiver, tmp_path: Path) -> None:
    hooks.answer = lambda _: (410, {})
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--wait", "--timeout", "30")
        eventually(lambda: shown(env)["disabled"] is not None, "it is disabled")
        buy(env, "r-2", "--wait", "--timeout", "30")
        found = scaleout(env, "doctor", "--json").json()
        time.sleep(1)
        told = len(hooks.received)
        hooks.answer = lambda _: (200, {})
        assert scaleout(env, "webhooks", "enable", "billing").code == 0
        eventually(lambda: shown(env)["pending"] == 0, "both are told")

    assert told == 1
    assert [(one["check"], one["status"]) for one in found if one["check"].startswith("webhook")] == [
        ("webhook billing", "error")
    ]
    assert {outcome["request_id"] for outcome in hooks.of("outcome")} == {"r-1", "r-2"}


def test_a_hanging_receiver_delays_nobody_else(
    env: dict[str, str], hooks: Receiver, policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with receiver(tmp_path / "other") as slow:
        slow.answer = lambda _: (time.sleep(8), (200, {}))[1]  # type: ignore[func-returns-value]
        both = tmp_path / "both.pem"
        both.write_bytes(hooks.ca_file.read_bytes() + slow.ca_file.read_bytes())
        policy.write_text(hooks.table() + slow.table("slow"))
        with worker({**env, "SSL_CERT_FILE": str(both)}, tmp_path / "worker.log") as running:
            eventually(lambda: len(running.events("webhook_added")) == 2, "both are in force")
            for number in range(3):
                buy(env, f"r-{number}", "--wait", "--timeout", "30")
            eventually(lambda: len(hooks.received) == 3, "the other one is told", within_s=7)
            eventually(lambda: len(slow.received) == 3, "and the slow one too")


def test_what_only_this_network_reaches_is_not_called(
    env: dict[str, str], hooks: Receiver, policy: Path, tmp_path: Path
) -> None:
    policy.write_text(hooks.table(allow_private=False))
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--wait", "--timeout", "30")
        eventually(lambda: shown(env)["failures"] > 0, "it fails")

    assert "no public address" in shown(env)["last_failure"]
    assert not hooks.received


def test_a_worker_killed_between_delivery_and_note_tells_it_again(
    env: dict[str, str], hooks: Receiver, tmp_path: Path
) -> None:
    running: list[Any] = []

    def answer(_: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if running:
            running.pop().kill()
        return 200, {}

    quick = {**env, "SCALEOUT_SUBMIT_LEASE_S": "3", "SCALEOUT_HTTP_TIMEOUT_S": "2"}
    with worker(quick, tmp_path / "one.log") as first:
        eventually(lambda: bool(first.events("webhook_added")), "the webhook is in force")
        hooks.answer = answer
        running.append(first)
        buy(env, "r-1")
        eventually(lambda: not first.alive(), "the worker is killed")
    with worker(quick, tmp_path / "two.log"):
        eventually(lambda: len(hooks.received) == 2, "it is told again")
        eventually(lambda: shown(env)["pending"] == 0, "and noted")

    first_id, second_id = hooks.ids()
    assert first_id == second_id


def test_replay_tells_what_has_ended_with_the_same_ids(
    env: dict[str, str], hooks: Receiver, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("webhook_added")), "the webhook is in force")
        buy(env, "r-1", "--wait", "--timeout", "30")
        eventually(lambda: len(hooks.received) == 1, "it is told")
        assert scaleout(env, "webhooks", "replay", "billing", "--since", "1h").code == 0
        eventually(lambda: len(hooks.received) == 2, "it is told again")

    assert len(set(hooks.ids())) == 1
    assert scaleout(env, "webhooks", "replay", "nobody", "--since", "1h").code == 4
    assert scaleout(env, "webhooks", "replay", "billing", "--since", "soon").code == 2
