"""A copy is taken under load, the server is lost, and another one is filled from the copy."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from config.settings import LedgerSettings
from tasks.engine.wiring import open_ledger
from tasks.ledger.copied_families import AFTER, BEFORE, BETWEEN, FIRST, LAST, LEFT_OUT, family
from tasks.ledger.portable import export
from tasks.ledger.record import SCHEMA
from tests.integration.test_command_line import scaleout
from tests.support.durable_server import durable_server
from tests.support.processes import ROOT, Simulator, environment, eventually, simulator, worker

pytestmark = pytest.mark.timeout(240)
CLUSTERS = 4
NODES = 2


def send(url: str, numbers: range) -> None:
    with Celery(broker=url, backend=url) as producer:
        for number in numbers:
            fields = {
                "request_id": f"r-{number}",
                "zone": "jn1a",
                "cluster_id": f"ehpc-{number % CLUSTERS}",
                "node_count": NODES,
            }
            producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")


def exported(env: dict[str, str], path: Path) -> list[dict[str, Any]]:
    done = scaleout(env, "ledger", "export", str(path), "--json")
    assert done.code == 0, done.err
    return rows(path)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:-1]]


def records(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return {
        row["key"].partition(":")[2]: json.loads(row["value"]["content"])
        for row in found
        if family(row["key"]) == kind
    }


@pytest.mark.slow
def test_what_came_after_a_copy_is_listed_and_not_bought_again(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    settings = {"SIGNATURE_TTL_S": 3, "HTTP_TIMEOUT_S": 2}
    with (
        simulator(tmp_path / "simulator.log", signature_ttl_s=3, job_duration_s="6-7") as provider,
        durable_server(tmp_path / "lost") as lost,
        durable_server(tmp_path / "new") as new,
    ):
        env = environment(lost.url, provider.api_url, **settings)
        with worker(env, tmp_path / "one.log") as first:
            send(lost.url, range(CLUSTERS))
            eventually(lambda: len(first.events("operation_submitted")) == CLUSTERS, "jobs run everywhere")
            # These wait for the clusters while the copy is made, and are sent after it.
            send(lost.url, range(CLUSTERS, 12))
            eventually(lambda: len(first.events("request_accepted")) == 12, "they wait")
            known = set(records(exported(env, copy), "request"))
            send(lost.url, range(12, 16))
            with lost.client() as client:
                wanted = [f"scaleout:outcome:r-{number}" for number in range(16)]
                eventually(lambda: all(client.mget(wanted)), "all end on the server that is lost")
        lost.kill()
        bought = provider.nodes()
        assert bought == 16 * NODES
        there = environment(new.url, provider.api_url, **settings)
        filled = scaleout(there, "ledger", "import", str(copy), "--yes", "--json")
        assert filled.code == 0, filled.err
        again = scaleout(there, "ledger", "import", str(copy), "--yes")
        assert (again.code, "already" in again.err) == (2, True)

        with worker(there, tmp_path / "two.log") as second, new.client() as client:
            found = scaleout(there, "doctor", "--zone", "jn1a", "--json").json()
            unknown = {one["check"].partition(" ")[2] for one in found if one["check"].startswith("unknown")}
            owned = {str(key).rpartition(":")[2] for key in client.scan_iter("scaleout:job:*")}
            jobs = {job["job_id"] for job in provider.get("truth")["jobs"]}
            assert unknown == jobs - owned != set()
            assert provider.nodes() == bought

            # Somebody acknowledges without having cancelled anything: each cluster's log stops it once more.
            acknowledge(there)
            eventually(lambda: marked(client), "a cluster's log marks it again", within_s=90)
            lines = second.events("jobs_without_operation")
            assert set[str]() != {job for line in lines for job in line["job_ids"]} <= unknown
            assert provider.nodes() == bought

            # Now with what the log has shown: those that wait here had been served.
            for request_id in known:
                assert scaleout(there, "cancel", request_id).code in (0, 1)
            acknowledge(there)
            eventually(lambda: ended(client, known), "all have ended", within_s=60)
            send(new.url, range(20, 21))
            eventually(lambda: marked(client) or ended(client, {"r-20"}), "a new one is sent", within_s=90)
            assert provider.nodes() == bought + NODES * ended(client, {"r-20"})


def acknowledge(env: dict[str, str]) -> None:
    done = scaleout(env, "doctor", "--acknowledge-data-loss", "--yes", "--by", "ann", "--reason", "compared")
    assert "acknowledged" in done.err, done.err


def marked(client: redis.Redis) -> bool:
    return bool(client.hexists("scaleout:epoch", "lost"))


def ended(client: redis.Redis, names: set[str]) -> bool:
    return all(client.mget([f"scaleout:outcome:{name}" for name in names]))


async def test_an_operation_of_a_copy_is_known_to_its_requests(
    redis_url: str, server: redis.Redis, provider: Simulator, tmp_path: Path
) -> None:
    env = environment(redis_url, provider.api_url)
    lines: list[str] = []
    planned = False

    def plan() -> None:
        """What happens while a copy is made: an operation is planned and sent."""
        assert scaleout(env, "resume").code == 0
        eventually(lambda: int(server.zcard("scaleout:ended")) == 2, "the second one ends")

    with worker(env, tmp_path / "worker.log"):
        submit(env, "r-1")
        eventually(lambda: int(server.zcard("scaleout:ended")) == 1, "the first one ends")
        assert scaleout(env, "pause").code == 0
        submit(env, "r-2")
        ledger = await open_ledger(LedgerSettings(redis_url=redis_url))
        try:
            async for line in export(ledger):
                lines.append(line)
                # The operations of a ledger as small as this are read together.
                if not planned and json.loads(line).get("key", "").startswith("operation:"):
                    planned = True
                    await asyncio.to_thread(plan)
        finally:
            await ledger.redis.aclose()

    copy = [json.loads(line) for line in lines[1:-1]]
    requests, operations = records(copy, "request"), records(copy, "operation")
    assert len(operations) == 1
    for name, operation in operations.items():
        for part in operation["allocations"]:
            assigned = [one["operation_id"] for one in requests[part["request_id"]]["assignments"]]
            assert name in assigned, (name, part)
    # Its operation is missing, so it is held; that it had none would have it bought again.
    assert len(requests["r-2"]["assignments"]) == 1
    order = (FIRST, BEFORE, BETWEEN, AFTER, LAST)
    rounds = [next(place for place, kinds in enumerate(order) if family(row["key"]) in kinds) for row in copy]
    assert rounds == sorted(rounds)


HEAD = {"format": 2, "exported_at": 1, "prefix": "scaleout", "schema": SCHEMA}
KEY = {"key": "open", "type": "zset", "value": [["r-1", 1.0]], "ttl_ms": 0}


def whole(*lines: Any) -> list[str]:
    """The lines of a copy with a last line that fits."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    digest = hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()
    return [*texts, json.dumps({"end": True, "keys": len(texts) - 1, "sha256": digest})]


def record(schema: int) -> dict[str, Any]:
    content = json.dumps({"schema_version": schema})
    value = {"version": "1", "content": content}
    return {"key": "request:r-1", "type": "hash", "value": value, "ttl_ms": 0}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "line 1"),
        (["{}"], "line 1"),
        (whole({**HEAD, "format": 1}, KEY), "format 1"),
        (whole({**HEAD, "format": 3}, KEY), "format 3"),
        (whole({**HEAD, "prefix": "staging"}, KEY), "SCALEOUT_KEY_PREFIX=staging"),
        (whole({**HEAD, "schema": SCHEMA + 1}, KEY), f"schema {SCHEMA + 1}"),
        (whole(HEAD, KEY, record(SCHEMA + 1)), f"schema {SCHEMA + 1}"),
        (whole(HEAD), "nothing to import"),
        (whole(HEAD, "no json"), "line 2"),
        (whole(HEAD, {**KEY, "value": ["a"]}), "zset"),
        (whole(HEAD, {**KEY, "type": "hash", "value": []}), "hash"),
        (whole(HEAD, {**KEY, "type": "module", "value": ""}), "line 2"),
        (whole(HEAD, KEY)[:-1], "cut off"),
        (whole(HEAD, KEY)[:1], "cut off"),
        ([*whole(HEAD, KEY)[:-1], json.dumps(KEY), whole(HEAD, KEY)[-1]], "missing or doubled"),
        ([whole(HEAD, KEY)[0], whole(HEAD, KEY)[-1].replace('"keys": 1', '"keys": 0')], "nothing to import"),
        ([*whole(HEAD, KEY)[:1], json.dumps({**KEY, "ttl_ms": 1}), whole(HEAD, KEY)[-1]], "was changed"),
        ([*whole(HEAD, KEY), json.dumps(KEY)], "follows the last line"),
        (['{"format": 2, "exported_at": 1, "pre'], "line 1"),
    ],
)
def test_what_is_no_whole_copy_is_refused_and_nothing_is_written(
    redis_url: str, server: redis.Redis, tmp_path: Path, lines: list[str], problem: str
) -> None:
    path = tmp_path / "copy.jsonl"
    path.write_text("\n".join(lines))
    refused = scaleout(offline(redis_url), "ledger", "import", str(path), "--yes")

    assert (refused.code, problem in refused.err) == (2, True), refused.err
    assert "nothing was imported" in refused.err
    assert server.dbsize() == 0


def offline(redis_url: str) -> dict[str, str]:
    return environment(redis_url, "http://127.0.0.1:1/api")


def submit(env: dict[str, str], *names: str) -> None:
    place = ("--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1")
    for name in names:
        assert scaleout(env, "submit", *place, "--request-id", name).code in (0, 3)


def test_a_copy_has_every_type_of_key_and_survives_the_round_trip(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    env = offline(redis_url)
    submit(env, "r-1", "r-2")
    assert scaleout(env, "cancel", "r-2").code == 0
    assert scaleout(env, "pause", "--for", "1h").code == 0
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    before = {row["key"]: row for row in exported(env, one)}
    assert scaleout(env, "ledger", "export", str(one)).code == 2
    assert one.stat().st_mode & 0o077 == 0
    server.flushall()
    assert scaleout(env, "ledger", "import", str(one), "--yes").code == 0
    assert scaleout(env, "status", "r-1", "--json").json()["state"] == "waiting"
    after = {row["key"]: row for row in exported(env, two)}

    changed = {"epoch", "steps", "counters", "journal"}
    assert {row["type"] for row in before.values()} == {"string", "hash", "list", "set", "zset", "stream"}
    assert {key: row["value"] for key, row in before.items() if key not in changed} == {
        key: row["value"] for key, row in after.items() if key not in changed
    }
    assert all(abs(before[key]["ttl_ms"] - after[key]["ttl_ms"]) < 90_000 for key in before.keys() - changed)


def test_an_import_that_was_interrupted_is_not_acknowledged_and_begins_anew(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    env, copy = offline(redis_url), tmp_path / "copy.jsonl"
    submit(env, "r-1", "r-2")
    before = {row["key"]: row["value"] for row in exported(env, copy)}
    # As one that was killed leaves it: marked, and with a part of the keys.
    server.delete("scaleout:request:r-1")
    server.rpush("scaleout:history:r-2", "{}")
    server.hset("scaleout:epoch", mapping={"lost": 1, "importing": 1})
    refused = scaleout(env, "doctor", "--acknowledge-data-loss", "--yes")
    assert (refused.code, "import" in refused.err) == (2, True), refused.err
    assert scaleout(env, "ledger", "import", str(copy), "--yes").code == 0

    after = {row["key"]: row["value"] for row in exported(env, tmp_path / "again.jsonl")}
    assert after["history:r-2"] == before["history:r-2"]
    assert after["request:r-1"] == before["request:r-1"]
    acknowledge(env)


def test_nothing_is_imported_while_a_worker_runs(
    redis_url: str, server: redis.Redis, provider: Simulator, tmp_path: Path
) -> None:
    env, copy = environment(redis_url, provider.api_url), tmp_path / "copy.jsonl"
    submit(env, "r-1")
    exported(env, copy)
    server.flushall()
    with worker(env, tmp_path / "worker.log"):
        eventually(lambda: bool(server.zcard("scaleout:heartbeats")), "it ticks")
        refused = scaleout(env, "ledger", "import", str(copy), "--yes")

    assert (refused.code, "stop all workers" in refused.err) == (2, True), refused.err
    assert not server.exists("scaleout:request:r-1")


def exporting(env: dict[str, str], path: Path, shell: str = "") -> subprocess.Popen[str]:
    program = f"{shell} exec {sys.executable} -m workers.cli.main ledger export {path}"
    return subprocess.Popen(
        ["sh", "-c", program], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.permanent_keys("scaleout:history:*")
def test_an_export_that_is_cut_off_leaves_no_file_that_looks_whole(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    env, path = offline(redis_url), tmp_path / "copy.jsonl"
    for number in range(400):
        server.rpush(f"scaleout:history:x-{number}", "x" * 2_000)
    full = exporting(env, path, "ulimit -f 100;")
    _, text = full.communicate(timeout=60)
    assert (full.returncode, "cannot be written" in text, list(tmp_path.iterdir())) == (2, True, []), text

    for number in range(20_000):
        server.rpush(f"scaleout:history:y-{number % 2_000}", "y" * 2_000)
    killed = exporting(env, path)
    part = path.with_name("copy.jsonl.partial")
    eventually(lambda: part.exists() and part.stat().st_size > 0, "it writes")
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=20)
    assert not path.exists()
    assert scaleout(env, "ledger", "export", str(path)).code == 0
    assert list(tmp_path.iterdir()) == [path]


def lines_at(text: str) -> Sequence[int]:
    return [place for place, letter in enumerate(text) if letter == "\n"]


def test_a_copy_cut_anywhere_is_refused(redis_url: str, server: redis.Redis, tmp_path: Path) -> None:
    env, copy, cut = offline(redis_url), tmp_path / "copy.jsonl", tmp_path / "cut.jsonl"
    submit(env, "r-1")
    exported(env, copy)
    server.flushall()
    text = copy.read_text(encoding="utf-8")
    ends = lines_at(text)
    for end in (0, ends[0], ends[0] + 1, ends[3] - 5, ends[3] + 1, ends[-2], ends[-2] + 1, ends[-1] - 1):
        cut.write_text(text[:end], encoding="utf-8")
        refused = scaleout(env, "ledger", "import", str(cut), "--yes")
        assert (refused.code, server.dbsize()) == (2, 0), (end, refused.err)
    # The last line end alone may be missing.
    cut.write_text(text[: ends[-1]], encoding="utf-8")
    assert scaleout(env, "ledger", "import", str(cut), "--yes").code == 0


def test_no_family_is_in_two_rounds() -> None:
    families = [FIRST, BEFORE, BETWEEN, AFTER, LAST, LEFT_OUT]

    assert sum(map(len, families)) == len(frozenset().union(*families))
