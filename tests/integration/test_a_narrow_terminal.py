"""At eighty columns: whole ids, whole sentences, no line that is too long."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command_line import scaleout
from tests.support.processes import Simulator, environment, eventually, worker
from tests.support.pseudo_terminal import on_a_terminal

COLUMNS = 80
LONG_ID = "nightly-batch-of-team-astro:2026-11-27T20:00:00Z:part-17-of-40"
PLACE = ["--cluster", "ehpc-8jqdq0mz", "--zone", "jn1a"]


def lines_on_a_terminal(env: Mapping[str, str], *arguments: str) -> list[str]:
    """Return what the command shows on a terminal of eighty columns, without colours."""
    narrow = {**env, "NO_COLOR": "1", "TERM": "xterm"}
    narrow.pop("COLUMNS", None)
    _, shown = on_a_terminal(narrow, *arguments, columns=COLUMNS)
    return shown.replace("\r", "").splitlines()


def words(lines: list[str]) -> str:
    return " ".join(" ".join(lines).replace("└", " ").split())


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return environment(redis_url, "http://127.0.0.1:1/api")


@pytest.mark.parametrize("request_id", ["r-1", LONG_ID])
def test_a_list_shows_whole_ids_and_whole_reasons(env: dict[str, str], request_id: str) -> None:
    scaleout(env, "submit", "--request-id", request_id, *PLACE, "--nodes", "1")
    scaleout(env, "pause", "--reason", "the provider moves its disks until Sunday evening", "--by", "ann")

    lines = lines_on_a_terminal(env, "list")

    assert max(map(len, lines)) <= COLUMNS
    assert any(request_id in line for line in lines)
    assert "the provider moves its disks until Sunday evening" in words(lines)


@pytest.mark.parametrize("command", ["status", "history"])
def test_a_request_is_shown_without_lines_that_are_too_long(env: dict[str, str], command: str) -> None:
    scaleout(env, "submit", "--request-id", LONG_ID, *PLACE, "--nodes", "1", "--name", "n" * 60)

    lines = lines_on_a_terminal(env, command, LONG_ID)

    assert max(map(len, lines)) <= COLUMNS
    assert "ehpc-8jqdq0mz" in words(lines)


@pytest.mark.timeout(90)
def test_many_nodes_are_counted_and_all_shown_when_asked_for(
    redis_url: str, provider: Simulator, tmp_path: Path
) -> None:
    env = environment(redis_url, provider.api_url)
    with worker(env, tmp_path / "worker.log"):
        scaleout(
            env, "submit", "--request-id", "large", *PLACE, "--nodes", "30", "--wait", "--timeout", "40s"
        )
        eventually(lambda: scaleout(env, "stats", "--json").json() != [], "an operation has ended")

    short = lines_on_a_terminal(env, "status", "large")
    wide = lines_on_a_terminal(env, "status", "large", "-o", "wide")
    tables = [lines_on_a_terminal(env, command) for command in ("stats", "workers", "quota", "doctor")]
    ended = lines_on_a_terminal(env, "list", "--ended")

    assert "and 25 more (-o wide shows all)" in words(short)
    assert "more" not in words(wide)
    assert any("succeeded" in line and "30/30" in line for line in ended)
    for lines in (short, wide, ended, *tables):
        assert max(map(len, lines)) <= COLUMNS
