"""Switches each safeguard off in turn: the bench has to notice every time. `make mutants` prints the table.

A safeguard whose removal nothing notices is either not needed or not tested.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("config", "tasks", "workers", "tests", "pyproject.toml")
CRASHES = "tests/simulation/test_crashes.py"
HISTORIES = "tests/simulation/test_random_histories.py"
SETTLEMENT = "tests/unit/tasks/lifecycle/test_settlement.py"
CLIENT = "tests/unit/tasks/ehpc/test_client.py"
GOVERNOR = "tests/integration/test_governor.py"
LEDGER = "tests/integration/test_ledger.py"
PAUSES = "tests/simulation/test_pauses.py"
BREAKERS = "tests/simulation/test_breakers.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`was` in `file` becomes `becomes`; `bench` has to fail then."""

    safeguard: str
    file: str
    was: str
    becomes: str
    bench: tuple[str, ...] = (CRASHES, HISTORIES)


MUTANTS = (
    Mutant(
        "gate: one operation of a cluster at a time",
        "tasks/lifecycle/planning.py",
        "    if cluster.gate is not None:\n        return Plan(changes)\n",
        "",
    ),
    Mutant(
        "version check of every record a step touches",
        "tasks/ledger/lua/commit.lua",
        "if version ~= c[2] then",
        "if false then",
    ),
    Mutant(
        "a script sent twice is applied once",
        "tasks/ledger/lua/commit.lua",
        "if before then return",
        "if false then return",
    ),
    Mutant(
        "intake by id: a request is written once",
        "tasks/ledger/step_encoding.py",
        '            self._write("check", self.key_of(record), record.version)\n'
        '            self._write("put"',
        "            if record.version:\n"
        '                self._write("check", self.key_of(record), record.version)\n'
        '            self._write("put"',
    ),
    Mutant(
        "lease: due work is one worker's for a while",
        "tasks/ledger/lua/claim_due.lua",
        "now + tonumber(ARGV[5])",
        "now + 1",
    ),
    Mutant(
        "an operation is written as submitting before it is sent",
        "tasks/lifecycle/submission.py",
        "    return sending if word is Committed.OK else None",
        "    return sending",
    ),
    Mutant(
        "what is signed is the recorded time",
        "tasks/lifecycle/submission.py",
        "m.api.add_nodes(operation.zone, body.encode(), moment(sent_at))",
        "m.api.add_nodes(operation.zone, body.encode(), moment(m.clock.now_ms()))",
    ),
    Mutant(
        "allocation and body are built anew at the sending",
        "tasks/lifecycle/submission.py",
        "wanted = next_step.still_wanted(operation, requests, now)",
        "wanted = operation.allocations",
    ),
    Mutant(
        "an unclear answer is never a refusal",
        "tasks/lifecycle/submission.py",
        "if not isinstance(answer, InDoubt):",
        "if True:",
    ),
    Mutant(
        "a definite answer is written however long Redis is away",
        "tasks/lifecycle/submission.py",
        "except (RedisError, OSError, Contention) as error:",
        "except Contention as error:",
    ),
    Mutant(
        "baseline: jobs that were there before are not ours",
        "tasks/lifecycle/settlement.py",
        "{*(operation.baseline or ()), *taken}",
        "{*taken}",
    ),
    Mutant(
        "baseline reaches back to the first doubt on the cluster",
        "tasks/lifecycle/submission.py",
        "min(m.clock.now_ms(), cluster.doubt_since or m.clock.now_ms())",
        "m.clock.now_ms()",
    ),
    Mutant(
        "jobs of other operations are not ours",
        "tasks/lifecycle/settlement.py",
        "{*(operation.baseline or ()), *taken}",
        "{*(operation.baseline or ())}",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "a listing is complete",
        "tasks/lifecycle/api_calls.py",
        "while len(rows) < total:",
        "while False:",
    ),
    Mutant(
        "the number of nodes has to fit",
        "tasks/lifecycle/settlement.py",
        "nodes not in (0, sent)",
        "False",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "the action has to fit",
        "tasks/lifecycle/settlement.py",
        "if row.job_action != job_action:",
        "if False:",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "two candidates are held",
        "tasks/lifecycle/settlement.py",
        "if len(candidates) > 1:",
        "if False:",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "adopted only when no other job of ours can come",
        "tasks/lifecycle/settlement.py",
        "if listed_at <= shown_until:\n        #",
        "if False:\n        #",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the signature's lifetime",
        "tasks/lifecycle/settlement.py",
        "sent_at + self.signature_ttl_ms + MOST_SKEW_MS",
        "sent_at + MOST_SKEW_MS",
        (SETTLEMENT, HISTORIES),
    ),
    Mutant(
        "absence: the provider's clock may differ",
        "tasks/lifecycle/settlement.py",
        "sent_at + self.signature_ttl_ms + MOST_SKEW_MS",
        "sent_at + self.signature_ttl_ms",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the call's timeout",
        "tasks/lifecycle/settlement.py",
        "self.shown_until(sent_at) + self.http_timeout_ms",
        "self.shown_until(sent_at)",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the log's lag",
        "tasks/lifecycle/settlement.py",
        "self.taken_until(sent_at) + self.lag_ms",
        "self.taken_until(sent_at)",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: a second listing",
        "tasks/lifecycle/settlement.py",
        "    if operation.absent_since is None:\n",
        "    if False:\n",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the log has shown a job of ours",
        "tasks/lifecycle/settlement.py",
        "if not action_seen:",
        "if False:",
        (SETTLEMENT,),
    ),
    Mutant(
        "outcomes leave the outbox after they are told",
        "tasks/lifecycle/publication.py",
        "        outcomes = await m.ledger.outcomes(",
        "        await m.ledger.told(pairs)\n        outcomes = await m.ledger.outcomes(",
    ),
    Mutant(
        "whoever waits joins in the script that knows whether it has ended",
        "tasks/ledger/lua/join.lua",
        "if ARGV[3] ~= '' then redis.call('SADD', KEYS[2], ARGV[3]) end",
        "",
    ),
    Mutant(
        "nodes of a successful job are all there",
        "tasks/lifecycle/arrivals.py",
        "return not verdict.successful or",
        "return",
    ),
    Mutant(
        "quota: the window",
        "tasks/quota/lua/reserve.lua",
        "if used + wanted > most then",
        "if false then",
        (HISTORIES, GOVERNOR),
    ),
    Mutant(
        "quota: a call counts until a window after its reply",
        "tasks/quota/governor.py",
        "await self._redis.zadd(self._calls, dict.fromkeys(calls, now), xx=True)",
        "await self._redis.zrem(self._calls, *calls)",
        (HISTORIES, GOVERNOR),
    ),
    Mutant(
        "no resend in the client",
        "tasks/ehpc/client.py",
        "middlewares=(never_resend,),",
        "middlewares=(),",
        (CLIENT,),
    ),
    Mutant(
        "nothing is sent from a ledger that lost data",
        "tasks/ledger/lua/commit.lua",
        "if ARGV[8] == '1' and tonumber(lost) > 0",
        "if false",
        (LEDGER,),
    ),
    Mutant(
        "pause: checked by the very step that writes an operation as submitting",
        "tasks/lifecycle/submission.py",
        "    changes.checks.extend(pauses.records)\n",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: looked at again before an operation is written as submitting",
        "tasks/lifecycle/submission.py",
        "if pauses.in_force(now) is not None:",
        "if False:",
        (PAUSES,),
    ),
    Mutant(
        "pause: checked by the step that takes the gate",
        "tasks/lifecycle/planning.py",
        "*(pauses.records if pauses else ())",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: the planning knows of it",
        "tasks/lifecycle/sweeping.py",
        "pauses=pauses,",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: what waits for its end comes back in the step that ends it",
        "tasks/lifecycle/pausing.py",
        "unparked={record.scope: now}",
        "unparked={}",
        (PAUSES,),
    ),
    Mutant(
        "pause: lifts by itself at its end time",
        "tasks/ledger/pauses.py",
        "self.paused and (self.until is None or self.until > now)",
        "self.paused",
        (PAUSES,),
    ),
    Mutant(
        "breaker: opens after so many failures in a row",
        "tasks/lifecycle/breaker.py",
        "FAILURES_IN_A_ROW = 5",
        "FAILURES_IN_A_ROW = 500",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: nothing is sent until its pause is over",
        "tasks/lifecycle/planning.py",
        "max(now, broken.until)",
        "now",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: its pause grows",
        "tasks/lifecycle/breaker.py",
        "FIRST_PAUSE_MS * 2 ** min(before.opened, 30)",
        "FIRST_PAUSE_MS",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: the probe is small",
        "tasks/lifecycle/planning.py",
        "breaker.probe_of(ready))",
        "_take(ready)[0])",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: a success closes it",
        "tasks/lifecycle/next_step.py",
        "cluster = breaker.succeeded(changes, cluster, operation, requests)",
        "pass",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: refusals for good count as failures",
        "tasks/lifecycle/refusal.py",
        "        cluster = breaker.failed(changes, cluster, operation, requests, str(error), now)",
        "        pass",
        (BREAKERS,),
    ),
)


def kill(mutant: Mutant) -> tuple[str, float]:
    """What noticed the mutant ('' if nothing did), and after how many seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        changed = Path(folder) / mutant.file
        text = changed.read_text(encoding="utf-8")
        if text.count(mutant.was) != 1:
            raise SystemExit(f"{mutant.file} has {text.count(mutant.was)} times {mutant.was!r}, not once")
        changed.write_text(text.replace(mutant.was, mutant.becomes), encoding="utf-8")
        for bench in mutant.bench:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", bench],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 1:
                return Path(bench).stem, time.monotonic() - began
            if done.returncode != 0:
                raise SystemExit(f"{mutant.safeguard}: {bench} could not run\n{done.stdout[-2000:]}")
    return "", time.monotonic() - began


def main() -> None:
    wanted = sys.argv[1:]
    mutants = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.safeguard for word in wanted)]
    survivors = 0
    print("| safeguard that is switched off | noticed by | after |\n|---|---|---|")
    with ThreadPoolExecutor(2) as pool:
        for mutant, (noticed, seconds) in zip(mutants, pool.map(kill, mutants), strict=True):
            survivors += not noticed
            print(f"| {mutant.safeguard} | {noticed or '**nothing**'} | {seconds:.0f} s |", flush=True)
    if survivors:
        raise SystemExit(f"{survivors} safeguards can be switched off unnoticed")


if __name__ == "__main__":
    main()
