"""The `scaleout` command as people and scripts use it: exit codes, what is on stdout, no traceback ever."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import command_line
from tests.support.command_line import Done
from tests.support.processes import ROOT, Process, Simulator, environment, eventually, simulator, worker
from tests.support.pseudo_terminal import on_a_terminal
from tests.support.redis_server import RedisServer

COMMAND = [sys.executable, "-m", "workers.cli.main"]
INSTALLED = Path(sys.executable).with_name("scaleout")
NOBODY = "127.0.0.1:1"
ONE_NODE = ("--zone", "jn1a", "--nodes", "1")

Env = Mapping[str, str]


def plain(env: Env) -> dict[str, str]:
    """Without the variables by which the surroundings of a test run may force colours."""
    return {
        name: value
        for name, value in env.items()
        if name not in ("FORCE_COLOR", "PY_COLORS", "NO_COLOR", "GITHUB_ACTIONS")
    }


def scaleout(env: Env, *arguments: str | bytes, encoding: str = "utf-8") -> Done:
    """Run the command with its output piped. No command may ever show a traceback or an escape code here."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**plain(env), "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "Traceback" not in err, err
    assert "\x1b" not in out + err
    return Done(done.returncode, out, err)


def findings(done: Done) -> dict[str, dict[str, Any]]:
    """What `doctor --json` has found, by what was looked at."""
    return {finding["check"]: finding for finding in done.json()}


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    """A server and nothing else: no worker runs, and the API is out of reach."""
    return environment(redis_url, f"http://{NOBODY}/api")


@dataclass(frozen=True)
class House:
    """All that runs in a good installation."""

    env: dict[str, str]
    provider: Simulator
    server: redis.Redis
    worker: Process


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server of its own, for the one that other tests use is emptied before each of them."""
    logs = tmp_path_factory.mktemp("house")
    durable = {"appendonly": "yes", "appendfsync": "always"}
    with (
        RedisServer(config=durable) as valkey,
        simulator(logs / "simulator.log", signature_ttl_s=3) as provider,
    ):
        url = f"redis://127.0.0.1:{valkey.port}/0"
        # By this name the log never shows our jobs: an operation in doubt cannot be reconciled, and is held.
        env = environment(
            url, provider.api_url, ADD_NODES_JOB_ACTION="AnotherName", SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2
        )
        with (
            worker(env, logs / "worker.log") as running,
            redis.Redis.from_url(url, decode_responses=True) as server,
        ):
            yield House(env, provider, server, running)


# Help and usage


def test_the_installed_command_lists_all_commands_and_exit_codes() -> None:
    done = subprocess.run(
        [INSTALLED, "--help"], env=plain(os.environ), capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    for name in (
        "worker",
        "simulator",
        "submit",
        "status",
        "wait",
        "list",
        "history",
        "stats",
        "cancel",
        "pause",
        "resume",
        "resolve",
        "quota",
        "doctor",
        "demo",
        "policy",
        "schedules",
        "health",
    ):
        assert f" {name} " in done.stdout
    assert "Exit codes" in done.stdout
    assert "\x1b" not in done.stdout


def test_help_imports_neither_celery_nor_aiohttp_nor_redis() -> None:
    script = """
import sys
from workers.cli import main
for arguments in (["--help"], ["submit", "--help"]):
    sys.argv = ["scaleout", *arguments]
    try:
        main.main()
    except SystemExit as end:
        assert end.code == 0, end.code
heavy = {"celery", "kombu", "aiohttp", "redis", "structlog"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["submit"],
        ["submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "many"],
        ["status"],
        ["list", "--limit", "0"],
        ["wait", "r", "--timeout", "-1"],
        ["wait", "r", "--timeout", "nan"],
        ["status", b"\xff\xfe"],
    ],
    ids=str,
)
def test_wrong_usage_is_exit_code_2_with_nothing_on_stdout(env: dict[str, str], arguments: list[str]) -> None:
    done = scaleout(env, *arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "x"], "--port"),
        (["--secret-access-key-file", "/nowhere/key"], "/nowhere/key"),
        (["--job-duration-s", "soon"], "job_duration_s 'soon'"),
        (["--job-duration-s", "6-2"], "job_duration_s '6-2'"),
        (["--node-ids-in-log", "sometimes"], "node_ids_in_log 'sometimes'"),
    ],
)
def test_a_simulator_with_impossible_options_refuses_to_start(
    env: dict[str, str], arguments: list[str], said: str
) -> None:
    done = scaleout(env, "simulator", *arguments)

    assert (done.code, done.out) == (2, "")
    assert said in done.err.splitlines()[-1]


def test_a_simulator_whose_port_is_taken_says_so_in_one_line(house: House) -> None:
    done = scaleout(house.env, "simulator", "--port", house.provider.url.rpartition(":")[2])

    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert "address already in use" in line


# Wrong settings, nobody there


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("list", "SCALEOUT_KEY_PREFIX", "two words"),
        ("quota", "SCALEOUT_QUOTA_CALLS", "plenty"),
        ("worker", "SCALEOUT_TICK_S", "fast"),
        ("status", "SCALEOUT_REDIS_URL", "http://localhost"),
    ],
)
def test_an_invalid_setting_is_exit_code_2_and_one_line(
    env: dict[str, str], command: str, name: str, value: str
) -> None:
    done = scaleout({**env, name: value}, command, *(["r"] if command == "status" else []))

    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert name in line


def test_doctor_names_a_wrong_setting_and_one_that_means_nothing(env: dict[str, str]) -> None:
    done = scaleout({**env, "SCALEOUT_SECRET_ACCESS_KEY": "", "SCALEOUT_TIKC_S": "1"}, "doctor", "--json")

    found = findings(done)
    assert done.code == 2
    assert "SCALEOUT_SECRET_ACCESS_KEY is missing" in found["settings"]["detail"]
    # What a producer's settings are enough for is looked at all the same.
    assert found["redis"]["status"] == "ok"
    assert "SCALEOUT_TIKC_S" in found["environment"]["detail"]


@pytest.mark.parametrize(
    "arguments",
    [["list", "--json"], ["submit", "--cluster", "ehpc-a", *ONE_NODE, "--json"], ["quota"]],
    ids=str,
)
def test_a_server_out_of_reach_is_exit_code_5_and_one_line(env: dict[str, str], arguments: list[str]) -> None:
    done = scaleout({**env, "SCALEOUT_REDIS_URL": f"redis://{NOBODY}/0"}, *arguments)

    assert done.code == 5
    (line,) = done.err.splitlines()
    assert "Redis cannot be reached" in line
    assert "SCALEOUT_REDIS_URL" in line
    if "--json" in arguments:
        error = {"kind": "unreachable", "problems": [line.removeprefix("scaleout: ")]}
        assert done.json() == {"error": error}
    else:
        assert done.out == ""


def test_a_password_that_the_server_refuses_is_not_shown(env: dict[str, str]) -> None:
    url = env["SCALEOUT_REDIS_URL"].replace("redis://", "redis://someone:very-secret@")

    done = scaleout({**env, "SCALEOUT_REDIS_URL": url}, "list")

    assert (done.code, done.out) == (5, "")
    assert len(done.err.splitlines()) == 1
    assert "very-secret" not in done.err


def test_doctor_reports_an_unreachable_server(env: dict[str, str]) -> None:
    done = scaleout({**env, "SCALEOUT_REDIS_URL": f"redis://{NOBODY}/0"}, "doctor", "--json")

    assert done.code == 5
    assert findings(done)["redis"]["unreachable"]


def test_doctor_reports_an_unreachable_api_and_a_server_without_persistence(env: dict[str, str]) -> None:
    done = scaleout(env, "doctor", "--zone", "jn1a", "--json")

    found = findings(done)
    assert done.code == 5
    assert found["api"]["unreachable"]
    assert NOBODY in found["api"]["detail"]
    assert {found[name]["status"] for name in ("appendonly", "appendfsync")} == {"warning"}
    assert "should be yes" in found["appendonly"]["detail"]
    assert found["settings"]["status"] == found["redis"]["status"] == "ok"


# Submitting


def test_an_invalid_request_is_exit_code_2_with_every_problem(
    env: dict[str, str], server: redis.Redis
) -> None:
    wrong = [
        "--cluster",
        "hpc-a",
        "--zone",
        "jn 1a",
        "--nodes",
        "0",
        "--role",
        "compute",
        "--ip",
        "10.0.0.300",
    ]
    said = scaleout(env, "submit", *wrong, "--resource-conf", "{")
    as_json = scaleout(env, "submit", *wrong, "--resource-conf", "{", "--json")

    assert (said.code, said.out) == (2, "")
    lines = said.err.splitlines()
    for name in ("resource_conf", "zone=", "node_count=", "node_role=", "private_ips="):
        assert sum(line.startswith(f"scaleout: {name}") for line in lines) == 1
    assert [line.rpartition("(")[2] for line in lines if "zone=" in line] == ["--zone)"]
    assert as_json.code == 2
    assert [f"scaleout: {text}" for text in as_json.json()["error"]["problems"]] == lines
    assert server.keys("*") == []


def test_a_resource_conf_without_bottom_is_a_problem_like_any_other(
    env: dict[str, str], server: redis.Redis
) -> None:
    done = scaleout(env, "submit", "--cluster", "ehpc-a", *ONE_NODE, "--resource-conf", "[" * 100_000)

    assert (done.code, done.out) == (2, "")
    assert "resource_conf is nested too deeply" in done.err
    assert server.keys("*") == []


def test_the_same_id_is_one_request_or_a_conflict(env: dict[str, str], server: redis.Redis) -> None:
    spec = ["submit", "--request-id", "r", "--cluster", "ehpc-a", "--zone", "jn1a"]
    first = scaleout(env, *spec, "--nodes", "2")
    again = scaleout(env, *spec, "--nodes", "2", "--json")
    stored = {name: server.dump(name) for name in server.keys("*")}
    other = scaleout(env, *spec, "--nodes", "3")
    other_json = scaleout(env, *spec, "--nodes", "3", "--json")

    assert (first.code, first.out) == (0, "r\n")
    said = again.json()
    assert (again.code, said["request_id"], said["state"]) == (0, "r", "waiting")
    assert (other.code, other.out) == (2, "")
    assert (
        other.err
        == "scaleout: request_id r was used before with other content (node_count): choose another\n"
    )
    assert other_json.code == 2
    assert other_json.json()["error"]["kind"] == "conflict"
    assert {name: server.dump(name) for name in server.keys("*")} == stored


def test_a_request_without_an_id_is_given_one(env: dict[str, str]) -> None:
    request_id = scaleout(env, "submit", "--cluster", "ehpc-a", *ONE_NODE).out.strip()

    status = scaleout(env, "status", request_id, "--json")

    assert (status.code, status.json()["request_id"]) == (3, request_id)


# Looking, waiting, cancelling


def test_a_request_without_a_worker_waits_and_times_out_with_code_3(
    env: dict[str, str],
) -> None:
    scaleout(env, "submit", "--request-id", "r", "--cluster", "ehpc-a", *ONE_NODE, "--requested-by", "Zoë")
    status = scaleout(env, "status", "r", "--json")
    waited = scaleout(env, "wait", "r", "--timeout", "0.2", "--json")
    shown = scaleout(env, "wait", "r", "--timeout", "0")

    assert status.code == 3
    said = status.json()
    assert {name: said[name] for name in ("request_id", "state", "outcome")} == {
        "request_id": "r",
        "state": "waiting",
        "outcome": None,
    }
    assert said["reason"]
    assert (said["nodes_requested"], said["requested_by"]) == (1, "Zoë")
    assert (waited.code, waited.json()["state"]) == (3, "waiting")
    assert "has not ended after 0.2 s: it is waiting" in waited.err
    assert (shown.code, "waiting" in shown.out) == (3, True)


def test_submit_with_wait_times_out_with_exit_code_3(env: dict[str, str]) -> None:
    spec = ["submit", "--request-id", "r", "--cluster", "ehpc-a", *ONE_NODE]

    done = scaleout(env, *spec, "--wait", "--timeout", "0.2", "--json")

    assert (done.code, done.json()["state"]) == (3, "waiting")


@pytest.mark.parametrize("command", ["status", "wait", "history", "cancel", "resolve"])
def test_a_request_that_does_not_exist_is_exit_code_4(env: dict[str, str], command: str) -> None:
    done = scaleout(env, command, "nobody's", "--json")

    assert done.code == 4
    assert done.json()["error"]["kind"] == "not_found"
    assert len(done.err.splitlines()) == 1
    assert "nobody's" in done.err


def test_cancelling_ends_a_request_for_good_whether_a_worker_runs_or_not(
    env: dict[str, str], server: redis.Redis
) -> None:
    scaleout(env, "submit", "--request-id", "r", "--cluster", "ehpc-a", *ONE_NODE)
    cancelled = scaleout(env, "cancel", "r", "--by", "Zoë\n\x1b[31m", "--json")
    again = scaleout(env, "cancel", "r")
    history = scaleout(env, "history", "r")
    history_json = scaleout(env, "history", "r", "--json")

    assert (cancelled.code, cancelled.json()["state"]) == (0, "cancelled")
    assert again.code == 0
    assert json.loads(server.get("scaleout:outcome:r") or "")["status"] == "cancelled"
    events = [line["event"] for line in history_json.json()]
    assert events == ["request_accepted", "request_cancelled", "request_finished"]
    assert history_json.json()[1]["by"] == "Zoë\n\x1b[31m"
    # What could steer a terminal is shown, not sent.
    assert "by=Zoë\\n\\x1b[31m" in history.out
    assert scaleout(env, "status", "r").code == 1
    assert scaleout(env, "wait", "r", "--json").json()["state"] == "cancelled"
    in_ascii = scaleout(env, "history", "r", encoding="ascii")
    assert (in_ascii.code, "by=Zo\\xeb\\n" in in_ascii.out) == (0, True)
    assert scaleout(env, "history", "r", "--json", encoding="ascii").json() == history_json.json()


def test_what_has_not_ended_is_listed_oldest_first(env: dict[str, str]) -> None:
    for request_id in ("b", "a"):
        scaleout(env, "submit", "--request-id", request_id, "--cluster", "ehpc-a", *ONE_NODE)

    assert [row["request_id"] for row in scaleout(env, "list", "--json").json()] == ["b", "a"]
    assert [row["request_id"] for row in scaleout(env, "list", "--json", "--limit", "1").json()] == ["b"]
    assert scaleout(env, "list", "--ended", "--json").json() == []
    table = scaleout(env, "list").out.split()
    assert table.index("b") < table.index("a")


def test_interrupted_while_waiting_is_the_shells_own_exit_code(env: dict[str, str]) -> None:
    scaleout(env, "submit", "--request-id", "r", "--cluster", "ehpc-a", *ONE_NODE)
    waiting = subprocess.Popen(
        [*COMMAND, "wait", "r"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests run in the background of a shell inherit an ignored SIGINT, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert waiting.stderr is not None
        assert "waiting" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=30)
    finally:
        waiting.kill()
        waiting.communicate()

    assert (waiting.returncode, out, "Traceback" in err) == (130, "", False)


def test_a_reader_that_has_gone_is_no_reason_for_a_traceback(env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, "list", "--json"],
            cwd=ROOT,
            env=env,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (1, "")


def test_colours_are_for_a_terminal_and_never_with_no_color(env: dict[str, str]) -> None:
    scaleout(env, "submit", "--request-id", "r", "--cluster", "ehpc-a", *ONE_NODE)
    terminal = {**plain(env), "TERM": "xterm-256color"}

    code, coloured = on_a_terminal(terminal, "list")
    assert (code, "\x1b[" in coloured) == (0, True)
    code, without = on_a_terminal({**terminal, "NO_COLOR": "1"}, "list")
    assert code == 0
    assert "waiting" in without
    assert "\x1b" not in without


# With a worker and the simulator


def test_doctor_finds_nothing_wrong_in_a_good_installation(house: House) -> None:
    done = scaleout(house.env, "doctor", "--zone", "jn1a", "--json")

    found = findings(done)
    assert {name for name, finding in found.items() if finding["status"] != "ok"} == set(), found
    assert {"settings", "redis", "appendonly", "ledger", "credentials", "clock"} <= set(found)
    assert (done.code, done.err) == (0, "")


def test_doctor_reports_a_refused_key_without_showing_it(house: House) -> None:
    done = scaleout({**house.env, "SCALEOUT_SECRET_ACCESS_KEY": "quite-another"}, "doctor", "--zone", "jn1a")

    assert done.code == 1
    (line,) = (line for line in done.out.splitlines() if "credentials" in line)
    assert "error" in line
    assert "1200" in line
    assert "quite-another" not in done.out + done.err


def test_a_request_that_succeeds_is_exit_code_0_with_its_outcome(house: House) -> None:
    spec = ["submit", "--request-id", "good", "--cluster", "ehpc-good", "--zone", "jn1a", "--nodes", "2"]
    done = scaleout(house.env, *spec, "--wait", "--timeout", "inf", "--json")
    again = scaleout(house.env, *spec)
    status = scaleout(house.env, "status", "good", "--json")
    waited = scaleout(house.env, "wait", "good")
    history = scaleout(house.env, "history", "good", "--json")
    ended = scaleout(house.env, "list", "--ended", "--json")

    outcome = done.json()["outcome"]
    assert (done.code, outcome["status"], outcome["nodes_added"]) == (0, "succeeded", 2)
    assert done.err.startswith("good accepted\n")
    assert house.provider.nodes("ehpc-good") == 2
    assert (status.code, status.json()) == (0, done.json())
    # Asked once more, it is the same request: its outcome is shown, and nothing is bought.
    assert (again.code, waited.code) == (0, 0)
    assert again.out == waited.out
    assert all(node_id in waited.out for node_id in outcome["node_ids"])
    events = [line["event"] for line in history.json()]
    assert (events[0], events[-1]) == ("request_accepted", "request_finished")
    assert "operation_submitted" in events
    assert "good" in [row["request_id"] for row in ended.json()]
    assert house.provider.nodes("ehpc-good") == 2


def test_a_request_that_ends_otherwise_is_exit_code_1(house: House) -> None:
    house.provider.post(
        "faults", {"kind": "ret_code", "code": 2400, "message": "balance", "cluster_id": "ehpc-bad"}
    )
    done = scaleout(
        house.env, "submit", "--request-id", "bad", "--cluster", "ehpc-bad", *ONE_NODE, "--wait", "--json"
    )
    again = scaleout(house.env, "submit", "--request-id", "bad", "--cluster", "ehpc-bad", *ONE_NODE)
    status = scaleout(house.env, "status", "bad")

    assert (done.code, done.json()["state"]) == (1, "rejected")
    assert done.json()["outcome"]["error"]["code"] == 2400
    assert (again.code, status.code) == (1, 1)
    assert "balance" in status.out


def test_quota_shows_what_is_used_and_what_is_left(house: House) -> None:
    scaleout(house.env, "doctor", "--zone", "jn1a")
    said = scaleout(house.env, "quota", "--json").json()

    assert said["used"] >= 1
    assert (said["limit"], said["used"] + said["left"], said["exhausted_until"]) == (100_000, 100_000, None)


def test_a_held_operation_is_shown_and_resolved(house: House) -> None:
    house.provider.post("faults", {"kind": "drop", "made": True, "cluster_id": "ehpc-held"})
    scaleout(house.env, "submit", "--request-id", "held", "--cluster", "ehpc-held", *ONE_NODE)
    eventually(lambda: house.server.exists("scaleout:held") == 1, "it is held")

    status = scaleout(house.env, "status", "held", "--json")
    assert (status.code, status.json()["state"]) == (3, "held")
    (operation,) = status.json()["operations"]
    operation_id = operation["operation_id"]
    assert operation_id in status.json()["reason"]["message"]
    doctor = scaleout(house.env, "doctor", "--zone", "jn1a", "--json")
    assert (doctor.code, findings(doctor)[f"held {operation_id}"]["status"]) == (1, "error")

    shown = scaleout(house.env, "resolve", "held", "--json")
    (evidence,) = shown.json()
    (candidate,) = evidence["candidates"]
    decision = ["resolve", operation_id, "--adopt", candidate["job_id"]]
    unconfirmed = scaleout(house.env, *decision)
    both = scaleout(house.env, *decision, "--not-executed", "--yes")
    assert (shown.code, unconfirmed.code, both.code) == (0, 2, 2)
    assert "--yes" in unconfirmed.err
    assert house.server.exists("scaleout:held") == 1

    decided = scaleout(
        house.env, *decision, "--yes", "--by", "Zoë", "--reason", "seen at the console", "--json"
    )
    assert (decided.code, decided.json()["operation_id"]) == (0, operation_id)
    waited = scaleout(house.env, "wait", "held", "--timeout", "30", "--json")
    assert (waited.code, waited.json()["nodes_added"]) == (0, 1)
    assert scaleout(house.env, "resolve", "held", "--json").code == 2
    assert house.provider.nodes("ehpc-held") == 1


def test_version_says_which_this_is(env: Env) -> None:
    done = scaleout(env, "--version")

    assert done.code == 0
    assert done.out.startswith("scaleout ")


def test_a_timeout_without_a_wait_is_refused_and_nothing_is_written(env: Env, redis_url: str) -> None:
    done = scaleout(env, "submit", "--cluster", "ehpc-1", *ONE_NODE, "--timeout", "5")

    assert (done.code, done.out) == (2, "")
    assert "--wait" in done.err
    with redis.Redis.from_url(redis_url) as server:
        assert server.dbsize() == 0


PLAN = ("quota", "--plan", "--jobs", "500", "--clusters", "40")


def test_a_plan_needs_neither_redis_nor_keys_and_heeds_the_settings(env: Env) -> None:
    bare = {name: value for name, value in env.items() if "ACCESS_KEY" not in name}
    away = {**bare, "SCALEOUT_REDIS_URL": f"redis://{NOBODY}/0", "SCALEOUT_POLL_INTERVAL_S": "5"}

    small = command_line.scaleout({**away, "SCALEOUT_QUOTA_CALLS": "2000"}, *PLAN, "--json")
    large = command_line.scaleout({**away, "SCALEOUT_QUOTA_CALLS": "4000"}, *PLAN, "--json")
    shown = scaleout({**away, "SCALEOUT_QUOTA_CALLS": "2000"}, *PLAN, "--job-duration", "10m")

    assert (small.code, small.json()["fits"], small.json()["mean_delay_s"]) == (0, True, 2.5)
    assert small.json()["calls_per_hour"] == {
        "polling": 720,
        "submissions": 1_000,
        "submissions_at_most": 1_120,
        "left": 280,
    }
    assert large.json()["max_jobs_per_hour"] > small.json()["max_jobs_per_hour"]
    assert shown.code == 0
    assert "500 jobs of 10m in an hour, on 40 clusters" in shown.out
    assert "too many jobs for the clusters" in shown.err


def test_a_plan_names_every_wrong_option_at_once(env: Env) -> None:
    wrong = ("--jobs", "many", "--zones", "0", "--nodes", "100", "--job-duration", "soon")

    done = command_line.scaleout(env, "quota", "--plan", *wrong, "--json")
    without_plan = scaleout(env, "quota", "--jobs", "1", "--job-duration", "2m")

    assert (done.code, without_plan.code, without_plan.out) == (2, 2, "")
    problems = done.json()["error"]["problems"]
    for option in (
        "--jobs='many'",
        "--clusters is missing",
        "--zones='0'",
        "--nodes='100'",
        "--job-duration",
    ):
        assert any(problem.startswith(option) for problem in problems), option
    assert len(problems) == 5
    assert [line for line in without_plan.err.splitlines() if line.endswith("needs --plan")] == [
        "scaleout: --jobs needs --plan",
        "scaleout: --job-duration needs --plan",
    ]


def test_quota_needs_no_api_keys(env: Env) -> None:
    bare = {name: value for name, value in env.items() if "ACCESS_KEY" not in name}

    done = scaleout(bare, "quota", "--json")

    assert done.code == 0
    assert done.json()["used"] == 0


def test_cancelling_twice_says_that_nothing_was_left_to_cancel(env: Env) -> None:
    scaleout(env, "submit", "--cluster", "ehpc-1", *ONE_NODE, "--request-id", "r-1")

    assert "gets no further nodes" in scaleout(env, "cancel", "r-1").err
    again = scaleout(env, "cancel", "r-1")
    assert again.code == 0
    assert "before" in again.err


def test_the_list_fits_into_eighty_columns(env: Env) -> None:
    scaleout(env, "submit", "--cluster", "ehpc-8jqdq0mz", *ONE_NODE, "--request-id", "nightly-4711")

    lines = scaleout(env, "list").out.splitlines()

    (row,) = [line for line in lines if "nightly-4711" in line]
    assert "0/1" in row
    assert max(map(len, lines)) <= 120
