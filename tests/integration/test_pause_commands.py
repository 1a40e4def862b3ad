"""`scaleout pause` and `resume` while no worker runs, and where what they did is shown."""

import pytest
import redis

from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import Breaker
from tests.support.command_line import Done, scaleout
from tests.support.processes import environment, eventually
from tests.support.records import with_entries

SUBMIT = ("submit", "--zone", "jn1a", "--nodes", "1", "--request-id")


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    """A server and nothing else: no worker runs, and the API is out of reach."""
    return environment(redis_url, "http://127.0.0.1:1/api")


def statuses(done: Done) -> dict[str, str]:
    return {finding["check"]: finding["status"] for finding in done.json()}


def test_a_pause_is_shown_by_status_list_and_doctor(env: dict[str, str], server: redis.Redis) -> None:
    assert scaleout(env, *SUBMIT, "a", "--cluster", "ehpc-a").code == 0

    paused = scaleout(
        env,
        "pause",
        "--cluster",
        "ehpc-a",
        "--reason",
        "moving racks",
        "--for",
        "2h",
        "--by",
        "ann",
        "--json",
    )

    assert paused.code == 0
    assert paused.err.startswith("1 requests will pass their deadline in this pause, the first at ")
    (stop,) = paused.json()
    assert (stop["kind"], stop["scope"], stop["by"], stop["reason"]) == (
        "pause",
        "ehpc-a",
        "ann",
        "moving racks",
    )
    assert stop["until"] > stop["since"]
    reason = scaleout(env, "status", "a", "--json").json()["reason"]
    assert "paused by ann" in reason["message"]
    assert reason["until"] == stop["until"]
    assert reason["message"].endswith(": moving racks")
    listed = scaleout(env, "list", "--json")
    assert listed.json()[0]["reason"] == reason
    assert reason["message"] in listed.err
    doctor = scaleout(env, "doctor", "--json")
    assert statuses(doctor)["pause ehpc-a"] == "warning"
    assert statuses(doctor)["blockers so far"] == "ok"
    assert server.hget("scaleout:counters", "paused") == "1"


def test_requests_are_taken_in_while_everything_is_paused(env: dict[str, str]) -> None:
    scaleout(env, "pause")

    assert scaleout(env, *SUBMIT, "a", "--cluster", "ehpc-a").code == 0
    assert scaleout(env, "status", "a", "--json").json()["state"] == "waiting"


def test_resume_lifts_one_pause_and_shows_what_is_still_paused(env: dict[str, str]) -> None:
    scaleout(env, "pause", "--by", "ann")
    scaleout(env, "pause", "--cluster", "ehpc-a", "--by", "bob")

    resumed = scaleout(env, "resume", "--by", "eve", "--json")

    assert resumed.code == 0
    assert [stop["by"] for stop in resumed.json()] == ["bob"]
    assert scaleout(env, "resume", "--cluster", "ehpc-a", "--json").json() == []
    again = scaleout(env, "resume")
    assert (again.code, again.out, again.err) == (0, "", "nothing was paused here\n")
    history = scaleout(env, "history", "--events", "--json").json()
    assert [(line["event"], line["by"]) for line in history][:3] == [
        ("paused", "ann"),
        ("paused", "bob"),
        ("resumed", "eve"),
    ]


def test_a_pause_past_its_end_is_not_shown(env: dict[str, str], server: redis.Redis) -> None:
    scaleout(env, "pause", "--for", "1s")

    eventually(
        lambda: "pause everything" not in statuses(scaleout(env, "doctor", "--json")), "the pause is over"
    )

    assert '"paused":true' in str(server.hget("scaleout:pause:everything", "content"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--for", "2x"), "--for: '2x' is not a duration: write it as 90s, 30m, 2h, 1d or 1h30m"),
        (("--for", "400d"), "--for: '400d' is not between 1 second and 366 days"),
        (("--cluster", "jn1a"), "--cluster: 'jn1a' is not a cluster id: use ehpc-… or hpc-…"),
        (("--reason", " "), "--reason: 1 characters: use 1 to 500"),
        (("--by", "x" * 501), "--by: 501 characters: use 1 to 500"),
    ],
)
def test_what_cannot_be_is_refused_with_all_that_is_wrong(
    env: dict[str, str], server: redis.Redis, arguments: tuple[str, ...], problem: str
) -> None:
    both = scaleout(env, "pause", *arguments)
    as_json = scaleout(env, "pause", *arguments, "--json")

    assert (both.code, both.out, both.err) == (2, "", f"scaleout: {problem}\n")
    assert as_json.json() == {"error": {"kind": "invalid", "problems": [problem]}}
    assert server.keys("*") == []


def test_pausing_an_unknown_cluster_warns_about_its_name(
    env: dict[str, str],
) -> None:
    done = scaleout(env, "pause", "--cluster", "ehpc-typo", "--json")

    assert done.code == 0
    assert done.json()[0]["scope"] == "ehpc-typo"
    assert "is its id correct?" in done.err


async def test_an_open_breaker_is_shown_and_closed_by_resuming_its_cluster(
    env: dict[str, str], ledger: Ledger
) -> None:
    now = ledger.clock.now_ms()
    broken = Breaker(
        zone="jn1a",
        node_role="compute",
        failures=5,
        last_error="job j-5 failed",
        opened=1,
        since=now,
        until=now + 1,
    )
    cluster = await ledger.cluster("ehpc-a")
    changes = with_entries(Listed(Index.BROKEN, "ehpc-a", now))
    changes.write(cluster.model_copy(update={"breakers": {"p": broken}}))
    assert await ledger.commit(changes) is CommitResult.OK

    shown = scaleout(env, "doctor", "--json")
    resumed = scaleout(env, "resume", "--cluster", "ehpc-a", "--json")

    assert statuses(shown)["breaker ehpc-a"] == "error"
    assert "job j-5 failed" in shown.out
    assert resumed.json() == []
    assert (await ledger.cluster("ehpc-a")).breakers == {}
    assert await ledger.overview.counter("breaker_closed") == 1
