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
UNUSUAL = "tests/simulation/test_unusual_answers.py"
SETTLEMENT = "tests/unit/tasks/state_machine/test_decision.py"
CLIENT = "tests/unit/tasks/ehpc/test_client.py"
GOVERNOR = "tests/integration/test_rate_limiter.py"
LEDGER = "tests/integration/test_ledger.py"
LATE_ANSWERS = "tests/integration/test_late_responses.py"
GUARDRAILS = "tests/simulation/test_limits.py"
INTAKE = "tests/integration/test_intake_by_policy.py"
METERS = "tests/integration/test_usage_counters.py"
SCHEDULES = "tests/simulation/test_schedules.py"
FIRING = "tests/integration/test_schedule_firing.py"
CENSUS = "tests/unit/tasks/schedules/test_node_count.py"
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
        "tasks/state_machine/planning.py",
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
        (LEDGER,),
    ),
    Mutant(
        "intake by id: a request is written once",
        "tasks/ledger/commit_encoding.py",
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
        (LEDGER,),
    ),
    Mutant(
        "an operation is written as submitting before it is sent",
        "tasks/handlers/submit_operation.py",
        "        word = await m.commit(changes)\n        if word is Committed.OK:",
        "        await m.commit(changes)\n        word = Committed.OK\n        if word is Committed.OK:",
    ),
    Mutant(
        "what is signed is the recorded time",
        "tasks/handlers/submit_operation.py",
        "m.api.add_nodes(operation.zone, body.encode(), moment(sent_at))",
        "m.api.add_nodes(operation.zone, body.encode(), moment(m.clock.now_ms()))",
    ),
    Mutant(
        "allocation and body are built anew at the sending",
        "tasks/handlers/submit_operation.py",
        "wanted = next_step.still_wanted(operation, scene.requests, now)",
        "wanted = operation.allocations",
    ),
    Mutant(
        "an unclear answer is never a refusal",
        "tasks/handlers/submit_operation.py",
        "if not isinstance(answer, InDoubt):",
        "if True:",
    ),
    Mutant(
        "a definite answer is written however long Redis is away",
        "tasks/handlers/submit_operation.py",
        "except (RedisError, OSError, Contention) as error:",
        "except Contention as error:",
        (LATE_ANSWERS,),
    ),
    Mutant(
        "baseline: jobs that were there before are not ours",
        "tasks/state_machine/decision.py",
        "{*(operation.baseline or ()), *taken}",
        "{*taken}",
        (SETTLEMENT, HISTORIES),
    ),
    Mutant(
        "baseline reaches back to the first doubt on the cluster",
        "tasks/handlers/submit_operation.py",
        "min(m.clock.now_ms(), scene.cluster.doubt_since or m.clock.now_ms())",
        "m.clock.now_ms()",
        (UNUSUAL,),
    ),
    Mutant(
        "jobs of other operations are not ours",
        "tasks/state_machine/decision.py",
        "{*(operation.baseline or ()), *taken}",
        "{*(operation.baseline or ())}",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "a listing is complete",
        "tasks/handlers/provider_calls.py",
        "while len(rows) < total:",
        "while False:",
    ),
    Mutant(
        "the number of nodes has to fit",
        "tasks/state_machine/decision.py",
        "nodes not in (0, sent)",
        "False",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "the action has to fit",
        "tasks/state_machine/decision.py",
        "if row.job_action != job_action:",
        "if False:",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "two candidates are held",
        "tasks/state_machine/decision.py",
        "if len(candidates) > 1:",
        "if False:",
        (HISTORIES, SETTLEMENT),
    ),
    Mutant(
        "adopted only when no other job of ours can come",
        "tasks/state_machine/decision.py",
        "if listed_at <= shown_until:\n        #",
        "if False:\n        #",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the signature's lifetime",
        "tasks/state_machine/decision.py",
        "sent_at + self.signature_ttl_ms + MOST_SKEW_MS",
        "sent_at + MOST_SKEW_MS",
        (SETTLEMENT, HISTORIES),
    ),
    Mutant(
        "absence: the provider's clock may differ",
        "tasks/state_machine/decision.py",
        "sent_at + self.signature_ttl_ms + MOST_SKEW_MS",
        "sent_at + self.signature_ttl_ms",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the call's timeout",
        "tasks/state_machine/decision.py",
        "self.shown_until(sent_at) + self.http_timeout_ms",
        "self.shown_until(sent_at)",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the log's lag",
        "tasks/state_machine/decision.py",
        "self.taken_until(sent_at) + self.lag_ms",
        "self.taken_until(sent_at)",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: a second listing",
        "tasks/state_machine/decision.py",
        "    if operation.absent_since is None:\n",
        "    if False:\n",
        (SETTLEMENT,),
    ),
    Mutant(
        "absence: the log has shown a job of ours",
        "tasks/state_machine/decision.py",
        "if not action_seen:",
        "if False:",
        (SETTLEMENT,),
    ),
    Mutant(
        "outcomes leave the outbox after they are told",
        "tasks/handlers/publish_outcomes.py",
        "        outcomes = await m.ledger.outcomes(",
        "        await m.ledger.told(pairs)\n        outcomes = await m.ledger.outcomes(",
    ),
    Mutant(
        "whoever waits joins in the script that knows whether it has ended",
        "tasks/ledger/lua/subscribe.lua",
        "if ARGV[3] ~= '' then redis.call('SADD', KEYS[2], ARGV[3]) end",
        "",
        (LEDGER,),
    ),
    Mutant(
        "nodes of a successful job are all there",
        "tasks/state_machine/node_arrivals.py",
        "return not verdict.successful or",
        "return",
    ),
    Mutant(
        "quota: the window",
        "tasks/quota/lua/reserve.lua",
        "if again > now then return {'WAIT', now, again} end",
        "",
        (HISTORIES, GOVERNOR),
    ),
    Mutant(
        "quota: submissions keep following's share free",
        "tasks/quota/lua/reserve.lua",
        "free_again(2, used[1] + used[2] + wanted - tonumber(ARGV[4]))",
        "now",
        (GOVERNOR,),
    ),
    Mutant(
        "quota: a call counts until a window after its reply",
        "tasks/quota/rate_limiter.py",
        "self._clock.now_ms() + CLOCK_MARGIN_MS",
        "self._clock.now_ms() - self._window_ms",
        (HISTORIES, GOVERNOR),
    ),
    Mutant(
        "no resend in the client",
        "tasks/ehpc/connections.py",
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
        "guardrail: limits are looked at when an operation is planned",
        "tasks/state_machine/planning.py",
        "        first.taken = guard.keep(changes, first.taken, now)\n",
        "",
        (GUARDRAILS,),
    ),
    Mutant(
        "guardrail: checked again by the script that takes the gate",
        "tasks/ledger/lua/commit.lua",
        "if used + c[4] > c[5] then",
        "if false then",
        (METERS, GUARDRAILS),
    ),
    Mutant(
        "guardrail: the rolling limits of a plan are given to that script",
        "tasks/state_machine/plan_limits.py",
        "for limit in rolling(self.policy, cluster_id, request.form.requested_by):",
        "for limit in ():",
        (GUARDRAILS,),
    ),
    Mutant(
        "guardrail: what is in flight is given to the script that takes a request in",
        "tasks/intake/limit_check.py",
        "            if not limit.waits\n",
        "            if False\n",
        (INTAKE, GUARDRAILS),
    ),
    Mutant(
        "guardrail: a cluster's nodes are counted again after each operation",
        "tasks/intake/limit_usage.py",
        "count.after == cluster.last_operation and",
        "",
        (GUARDRAILS,),
    ),
    Mutant(
        "guardrail: nodes count from when their job is known, not from the plan",
        "tasks/ledger/usage_counters.py",
        "at = now if known else None",
        "at = now",
        (METERS,),
    ),
    Mutant(
        "guardrail: what is in doubt is not given back",
        "tasks/ledger/usage_counters.py",
        "{State.REFUSED, State.ABSENT, State.ABANDONED}",
        "{State.REFUSED, State.ABSENT, State.ABANDONED, State.IN_DOUBT}",
        (METERS, GUARDRAILS),
    ),
    Mutant(
        "guardrail: nodes that no listing shows yet are counted",
        "tasks/handlers/plan_cluster.py",
        "present=max(present, _at_least(cluster, last, began, lag_ms))",
        "present=present",
        (GUARDRAILS,),
    ),
    Mutant(
        "guardrail: an operation that has waited to be sent is compared with the policy again",
        "tasks/handlers/replan.py",
        "m.clock.now_ms() - scene.operation.planned_at <= COUNT_HOLDS_MS",
        "True",
        (GUARDRAILS,),
    ),
    Mutant(
        "schedule: a moment is noted as dealt with in the step that asks for it",
        "tasks/schedules/fire.py",
        '"through": moment, ',
        "",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: a moment's request that is there is not asked for again",
        "tasks/schedules/build_request.py",
        "if await ledger.request(request_id) is None:",
        "if True:",
        (FIRING,),
    ),
    Mutant(
        "schedule: what was dealt with is never dealt with again",
        "tasks/schedules/timetable.py",
        "first = next(schedule.moments(_time(through)), None)",
        "first = next(schedule.moments(_time(now - catch_up_ms)), None)",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: a moment that is too old is not made up",
        "tasks/schedules/timetable.py",
        "if missed is not None:",
        "if False:",
        (FIRING,),
    ),
    Mutant(
        "schedule: one that comes new has no moments of before",
        "tasks/schedules/last_handled.py",
        "return max(through, now)",
        "return through",
        (FIRING,),
    ),
    Mutant(
        "schedule: nothing is asked for from a ledger that lost data",
        "tasks/schedules/build_request.py",
        "Changes(sends=True)",
        "Changes()",
        (FIRING,),
    ),
    Mutant(
        "schedule: a ledger that was accepted has no moments of before",
        "tasks/schedules/sync.py",
        "record.gone or record.epoch != epoch",
        "record.gone",
        (FIRING,),
    ),
    Mutant(
        "schedule: demand that comes while a role is counted makes the step stale",
        "tasks/schedules/build_request.py",
        "        changes.checks.append(cluster)\n",
        "",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: what is on its way counts",
        "tasks/schedules/build_request.py",
        "- count.present - count.on_its_way",
        "- count.present",
        (SCHEDULES,),
    ),
    Mutant(
        "schedule: a listing counts only while no operation begins or ends",
        "tasks/schedules/build_request.py",
        "listing is None or not listing.fits(cluster)",
        "listing is None",
        (FIRING,),
    ),
    Mutant(
        "schedule: what a running operation has brought is not counted beside its whole",
        "tasks/schedules/node_count.py",
        "len(active) - min(len(brought), operation.node_count)",
        "len(active)",
        (CENSUS,),
    ),
    Mutant(
        "pause: checked by the very step that writes an operation as submitting",
        "tasks/handlers/submit_operation.py",
        "        changes.checks.extend(scene.pauses.records)\n",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: looked at again before an operation is written as submitting",
        "tasks/handlers/submit_operation.py",
        "if await parked_while_paused(m, scene):\n            return None\n        changes",
        "if False:\n            return None\n        changes",
        (PAUSES,),
    ),
    Mutant(
        "pause: checked by the step that takes the gate",
        "tasks/state_machine/planning.py",
        "*(pauses.records if pauses else ())",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: the planning knows of it",
        "tasks/engine/dispatcher.py",
        "pauses=demand.pauses,",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: what waits for its end comes back in the step that ends it",
        "tasks/state_machine/pauses.py",
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
        "tasks/state_machine/circuit_breaker.py",
        "FAILURES_IN_A_ROW = 5",
        "FAILURES_IN_A_ROW = 500",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: nothing is sent until its pause is over",
        "tasks/state_machine/planning.py",
        "max(now, broken.until)",
        "now",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: its pause grows",
        "tasks/state_machine/circuit_breaker.py",
        "FIRST_PAUSE_MS * 2 ** min(before.opened, 30)",
        "FIRST_PAUSE_MS",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: the probe is small",
        "tasks/state_machine/planning.py",
        "circuit_breaker.probe_of(ready))",
        "_take(ready)[0])",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: a success closes it",
        "tasks/state_machine/completion.py",
        "cluster = circuit_breaker.succeeded(changes, cluster, operation, requests)",
        "pass",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: refusals for good count as failures",
        "tasks/state_machine/refusal.py",
        "        cluster = circuit_breaker.failed(changes, cluster, operation, requests, str(error), now)",
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
