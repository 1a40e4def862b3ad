"""Switches each safeguard off in turn: the tests have to notice every time. `make mutants` prints the table.

A safeguard whose removal nothing notices is either not needed or not tested.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("benchmarks", "config", "scaleout_client", "tasks", "workers", "tests", "pyproject.toml")
CRASHES = "tests/simulation/test_crashes.py"
HISTORIES = "tests/simulation/test_random_histories.py"
UNUSUAL = "tests/simulation/test_unusual_answers.py"
DECISION = "tests/unit/tasks/state_machine/test_decision.py"
CLIENT = "tests/unit/tasks/ehpc/test_client.py"
RATE_LIMITER = "tests/integration/test_rate_limiter.py"
LEDGER = "tests/integration/test_ledger.py"
GATEWAY = "tests/integration/test_gateway.py"
LATE_RESPONSES = "tests/integration/test_late_responses.py"
LIMITS = "tests/simulation/test_limits.py"
INTAKE = "tests/integration/test_intake_by_policy.py"
USAGE = "tests/integration/test_usage_counters.py"
SCHEDULES = "tests/simulation/test_schedules.py"
FIRING = "tests/integration/test_schedule_firing.py"
NODE_COUNT = "tests/unit/tasks/schedules/test_node_count.py"
PAUSES = "tests/simulation/test_pauses.py"
BREAKERS = "tests/simulation/test_breakers.py"
LISTING = "tests/unit/tasks/ehpc/test_listing.py"
PROVIDER_CALLS = "tests/unit/tasks/handlers/test_provider_calls.py"
LOST_CALLS = "tests/integration/test_lost_calls.py"
SCRUBBING = "tests/integration/test_scrubbing.py"
DECISION_CHECK = "tests/unit/tasks/state_machine/test_decision_check.py"
ALL_OF_CELERY = "tests/acceptance/test_all_of_celery.py"
WEBHOOKS = "tests/acceptance/test_webhooks.py"
ADDRESSES = "tests/unit/tasks/webhooks/test_addresses.py"
PAGE = "tests/acceptance/test_operator_page.py"
SESSIONS = "tests/integration/test_gateway_sessions.py"
SENTINELS = "tests/acceptance/test_sentinels.py"
FOLLOWING = "tests/integration/test_following_the_master.py"
COPIES = "tests/acceptance/test_ledger_copies.py"
LARGE = "tests/integration/test_large_ledgers.py"
AT_THE_START = "tests/integration/test_a_wrong_clock_at_the_start.py"
STEPS = "tests/simulation/test_clocks_that_step.py"
AHEAD = "tests/unit/tasks/handlers/test_a_clock_that_was_ahead.py"
UNREADABLE = "tests/integration/test_unreadable_records.py"
AHEAD_AT_THE_START = "tests/simulation/test_a_clock_ahead_at_the_start.py"
FAILOVER = "tests/simulation/test_a_step_lost_in_a_failover.py"
DECISIONS = "tests/simulation/test_decisions_of_people.py"
ODD = "tests/simulation/test_odd_listings.py"
JOB_ID_OF_RESPONSE = "    job_id = response.job_id if isinstance(response, JobAccepted) else None\n"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`was` in `file` becomes `becomes`; `tests` have to fail then."""

    safeguard: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...] = (CRASHES, HISTORIES)


MUTANTS = (
    Mutant(
        "decision: what was read stays certain if the rest cannot be",
        "tasks/handlers/check_decision.py",
        "found = against_adoption(operation, row, rules, job_id=job_id, owner=owner)",
        "found = against_adoption(operation, None, rules, job_id=job_id, owner=owner)",
        (DECISIONS,),
    ),
    Mutant(
        "completion: an unreadable operation stops no poll",
        "tasks/handlers/count_nodes.py",
        "await ctx.ledger.unless_unreadable(_nodes_of_others(ctx, operation))",
        "await _nodes_of_others(ctx, operation)",
        (UNREADABLE,),
    ),
    Mutant(
        "polling: a missing job is held an hour after its deadlines",
        "tasks/handlers/poll_zone.py",
        "if now - since <= longest or not snapshot.is_overdue(now) or ctx.clocks_disagree:",
        "if now - since <= longest:",
        (ODD,),
    ),
    Mutant(
        "decision: what has moved on since it was checked is not decided",
        "tasks/admin.py",
        "        if checked is not None:\n",
        "        if False:\n",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "decision: the log of another account is not asked",
        "workers/cli/session.py",
        "    await ledger.demand_account(settings.access_key_id.get_secret_value())\n",
        "",
        (LEDGER,),
    ),
    Mutant(
        "decision: a late response makes its job certain",
        "tasks/state_machine/acceptance.py",
        "    if event is None:\n",
        "    if False:\n",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "lost calls: what happened between two failovers is not searched",
        "tasks/handlers/lost_calls.py",
        "return any(since <= created_at <= until for since, until in windows)",
        "return min(windows)[0] <= created_at <= max(windows)[1]",
        (LOST_CALLS,),
    ),
    Mutant(
        "lost calls: an earlier failover of the day is searched too",
        "tasks/handlers/lost_calls.py",
        "for since, at in change.windows]",
        "for since, at in change.windows[-1:]]",
        (LOST_CALLS,),
    ),
    Mutant(
        "copy: one of long ago widens no later search",
        "tasks/ledger/identity.py",
        '                pipe.hdel(self.keys.epoch, "imported")\n',
        "",
        (LOST_CALLS,),
    ),
    Mutant(
        "scrub: a lock of an unknown operation is released",
        "tasks/handlers/scrub_ledger.py",
        "                await self._check_lock(cluster, cluster.locked_by)\n",
        "",
        (SCRUBBING,),
    ),
    Mutant(
        "quota: a probe noted by a clock ahead is due",
        "tasks/quota/lua/reserve.lua",
        "if probe > now and probe <= now + tonumber(ARGV[6]) + 5000 then",
        "if probe > now then",
        (RATE_LIMITER,),
    ),
    Mutant(
        "time: what settles by a clock ahead settles from now on",
        "tasks/ledger/lua/request_sweep.lua",
        "if changed and tonumber(changed) > now then",
        "if false then",
        (AHEAD_AT_THE_START,),
    ),
    Mutant(
        "time: who has not proven it follows the server",
        "tasks/ledger/ledger.py",
        "if self.clock.step_ms and not self.time_is_proven:",
        "if False:",
        (AHEAD_AT_THE_START,),
    ),
    Mutant(
        "decision: another action excludes a job once the zone shows ours",
        "tasks/handlers/check_decision.py",
        "action_seen=await shows_our_action(ctx, operation.zone)",
        "action_seen=False",
        (DECISIONS,),
    ),
    Mutant(
        "time: before the first worker the newest request tells it",
        "tasks/ledger/ledger.py",
        "await self._newest_request_ms() if noted is None else noted.worker_ms",
        "None if noted is None else noted.worker_ms",
        (AT_THE_START,),
    ),
    Mutant(
        "decision: who looks for a rebuilt operation's job looks far back",
        "tasks/handlers/check_decision.py",
        "operation.shown_since or sent_at - MAX_CLOCK_STEP_MS",
        "operation.shown_since or sent_at",
        (DECISIONS,),
    ),
    Mutant(
        "decision: a job that the response has named is certain",
        "tasks/state_machine/decision_check.py",
        "if own_job is not None and not adopted:",
        "if own_job is not None and not adopted and operation.state is State.RUNNING:",
        (DECISIONS,),
    ),
    Mutant(
        "rebuilding: an operation was planned after its requests at the earliest",
        "tasks/state_machine/rebuilding.py",
        "planned_at=min(request.accepted_at for request in served),",
        "planned_at=now,",
        (SCRUBBING,),
    ),
    Mutant(
        "lost calls: they are looked for as long as either clock says",
        "tasks/ledger/lua/request_sweep.lua",
        "changed = math.max(now, last_tick)",
        "changed = now",
        (AT_THE_START,),
    ),
    Mutant(
        "lost calls: they are looked for before a tick that was ahead",
        "tasks/ledger/lua/request_sweep.lua",
        "since = last_tick <= now and last_tick or now - tonumber(ARGV[5])",
        "since = last_tick",
        (AT_THE_START,),
    ),
    Mutant(
        "lost calls: a name that the log has not shown excludes no job",
        "tasks/handlers/lost_calls.py",
        "if rules.action_seen and row.job_action",
        "if row.job_action",
        (LOST_CALLS,),
    ),
    Mutant(
        "failover: what is planned again, though it was sent, is held",
        "tasks/handlers/record_response.py",
        "if current.operation.state is State.PLANNED:",
        "if False:",
        (FAILOVER,),
    ),
    Mutant(
        "failover: what was sent is looked for after the loss is acknowledged",
        "tasks/ledger/identity.py",
        'pipe.hdel(self.keys.epoch, "lost")',
        'pipe.hdel(self.keys.epoch, "lost", "changed", "since")',
        (LOST_CALLS,),
    ),
    Mutant(
        "reconciliation: a candidate that is hidden later is not absent",
        "tasks/handlers/reconcile_operation.py",
        "            *hides(gone),\n",
        "",
        (ODD,),
    ),
    Mutant(
        "completion: nodes that another outcome has are not named again",
        "tasks/handlers/count_nodes.py",
        " or await _names_nodes_of_others(ctx, operation, result):",
        ":",
        (ODD,),
    ),
    Mutant(
        "a response is kept though a record cannot be read",
        "tasks/handlers/record_response.py",
        "            await _until_written(ctx, lambda: _keep(snapshot, response))\n",
        "            pass\n",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "time: nothing is claimed before it is proven",
        "tasks/engine/dispatcher.py",
        "if not self._ctx.ledger.time_is_proven and not await prove_time(self._ctx):",
        "if False:",
        (AHEAD_AT_THE_START,),
    ),
    Mutant(
        "time: long after the last tick it is not proven",
        "tasks/ledger/ledger.py",
        "continues and (noted is None or noted.is_proven)",
        "True",
        (AT_THE_START,),
    ),
    Mutant(
        "time: who took it on trust proves it to nobody",
        "tasks/ledger/ledger.py",
        "continues and (noted is None or noted.is_proven)",
        "continues",
        (AT_THE_START,),
    ),
    Mutant(
        "limits: nothing is forgotten by a time that is not proven",
        "tasks/ledger/lua/commit.lua",
        "      if ARGV[11] == '1' then",
        "      if true then",
        (AT_THE_START,),
    ),
    Mutant(
        "time: a planned operation ends by no disputed time",
        "tasks/handlers/submit_operation.py",
        "if only_late and not ctx.may_end_by_time:",
        "if False:",
        (STEPS,),
    ),
    Mutant(
        "quota: calls of a clock that was behind count anew",
        "tasks/quota/rate_limiter.py",
        "        self._count_anew_if_set_forward()\n",
        "",
        (RATE_LIMITER,),
    ),
    Mutant(
        "broker: a lost connection leaves nothing in the event loop",
        "workers/broker/transport.py",
        "        self._leave_event_loop()\n",
        "",
        ("tests/integration/test_broker_transport.py",),
    ),
    Mutant(
        "copy: an operation is read before its requests",
        "tasks/ledger/copied_families.py",
        '"operation", "outcome"',
        '"outcome"',
        (f"{COPIES}::test_an_operation_of_a_copy_is_known_to_its_requests",),
    ),
    Mutant(
        "copy: one that is cut off is no copy",
        "tasks/ledger/copy_format.py",
        "if end is None and len(problems) < MAX_PROBLEMS:",
        "if end is None and keys < 0:",
        (f"{COPIES}::test_a_copy_cut_anywhere_is_refused",),
    ),
    Mutant(
        "copy: a part of one cannot be acknowledged",
        "tasks/ledger/identity.py",
        "if importing is not None:",
        "if importing is not None and name == '':",
        (f"{COPIES}::test_an_import_that_was_interrupted_is_not_acknowledged_and_begins_anew",),
    ),
    Mutant(
        "copy: the log is compared after the acknowledgement too",
        "tasks/ledger/identity.py",
        "if imported is not None:",
        "if imported is not None and name == '':",
        (f"{COPIES}::test_what_came_after_a_copy_is_listed_and_not_bought_again",),
    ),
    Mutant(
        "page: what is shown is escaped",
        "workers/gateway/page/render.py",
        "autoescape=True",
        "autoescape=False",
        (PAGE,),
    ),
    Mutant(
        "page: a cookie is checked by its proof",
        "workers/gateway/sessions.py",
        "return hmac.compare_digest(proof, await self._proof(name, int(until), token_sha256))",
        "return True",
        (SESSIONS,),
    ),
    Mutant(
        "page: a cookie is over with its time",
        "workers/gateway/sessions.py",
        "if match is None or int(match.group(2)) <= self._ledger.clock.now_ms() // 1000:",
        "if match is None:",
        (SESSIONS,),
    ),
    Mutant(
        "page: a form of another site is refused",
        "workers/gateway/access.py",
        'if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):',
        "if False:",
        (SESSIONS,),
    ),
    Mutant(
        "metrics: who calls by a proxy on this machine is not on it",
        "workers/gateway/access.py",
        "return not any(name in request.headers for name in FORWARDED) and is_loopback",
        "return is_loopback",
        (SESSIONS,),
    ),
    Mutant(
        "webhooks: a name is resolved to public addresses only",
        "tasks/webhooks/addresses.py",
        'public = [result for result in found if is_public(result["host"])]',
        "public = found",
        (ADDRESSES, WEBHOOKS),
    ),
    Mutant(
        "webhooks: an address inside an IPv6 address counts",
        "tasks/webhooks/addresses.py",
        "return all(inner.is_global and not inner.is_multicast for inner in _inner(found))",
        "return True",
        (ADDRESSES,),
    ),
    Mutant(
        "webhooks: redirects are not followed",
        "tasks/webhooks/sender.py",
        "allow_redirects=False",
        "allow_redirects=True",
        (WEBHOOKS,),
    ),
    Mutant(
        "webhooks: a delivery is forgotten once it is answered, not before",
        "tasks/webhooks/deliver.py",
        "            answer = await self._sender.send(webhook, delivery, now)\n",
        "            await self._queues.settle(webhook.name, text, subject, Settled(None, now))\n"
        "            answer = await self._sender.send(webhook, delivery, now)\n",
        (WEBHOOKS,),
    ),
    Mutant(
        "webhooks: what happened is noted in its own step",
        "tasks/ledger/outcome_entries.py",
        'yield from Notify(notice_of("outcome", request_id, self.at)).commands(keys)',
        "yield from ()",
        (WEBHOOKS,),
    ),
    Mutant(
        "decision: the job of another operation is refused",
        "tasks/state_machine/decision_check.py",
        "if owner not in (None, operation.operation_id):",
        "if False:",
        (DECISION_CHECK,),
    ),
    Mutant(
        "decision: a job of another cluster is refused",
        "tasks/state_machine/decision_check.py",
        "if row.cluster_ids and operation.cluster_id not in row.cluster_ids:",
        "if False:",
        (DECISION_CHECK,),
    ),
    Mutant(
        "decision: a job that may be its own speaks against absence",
        "tasks/state_machine/decision_check.py",
        "if row.job_action == rules.job_action or not rules.action_seen:",
        "if False:",
        (DECISION_CHECK,),
    ),
    Mutant(
        "decision: nothing is decided while the call may be executed",
        "tasks/state_machine/decision_check.py",
        "if operation.sent_at is not None and listed_at <= (until := rules.shown_until(operation.sent_at)):",
        "if operation.sent_at is not None and listed_at <= (until := 0):",
        (DECISION_CHECK,),
    ),
    Mutant(
        "decision: what is not proven is not done",
        "workers/cli/commands/resolve.py",
        'if refused := refusals(checked.objections, force=choice.force, option="--force"):',
        "if refused := []:",
        ("tests/acceptance/test_decisions_are_checked.py",),
    ),
    Mutant(
        "callbacks: a message that comes twice calls back once",
        "tasks/handlers/publish_outcomes.py",
        "await callers.callbacks_sent(end.caller.task_id)",
        "pass",
        (ALL_OF_CELERY,),
    ),
    Mutant(
        "callbacks: they wait for the outcome",
        "tasks/add_nodes.py",
        "callbacks = take_callbacks(request)",
        "callbacks = None",
        (ALL_OF_CELERY,),
    ),
    Mutant(
        "revoking: a message that comes after it buys nothing",
        "tasks/add_nodes.py",
        "revoked=await callers.is_revoked(message.task_id)",
        "revoked=False",
        (ALL_OF_CELERY,),
    ),
    Mutant(
        "conflict: the first caller of a task id is not told of it",
        "tasks/intake/accept.py",
        "if task_id is not None and await self._waits_for(task_id, request_id):",
        "if False:",
        (ALL_OF_CELERY,),
    ),
    Mutant(
        "results: a late state does not replace the end",
        "tasks/engine/celery_results.py",
        "    return 0\n  end\nend\nredis.call('SET'",
        "    local nothing = 0\n  end\nend\nredis.call('SET'",
        ("tests/integration/test_celery_results.py",),
    ),
    Mutant(
        "quota: a clock that is ahead makes nobody forget",
        "tasks/quota/lua/reserve.lua",
        "local forgotten = math.min(old, all - tonumber(ARGV[3]))",
        "local forgotten = old",
        (RATE_LIMITER,),
    ),
    Mutant(
        "tick: it looks again after its clock was set back",
        "tasks/ledger/ledger.py",
        "self.clock.monotonic_ms() < self._look_at_ms",
        "True",
        (AT_THE_START,),
    ),
    Mutant(
        "tick: a sweep noted by a clock that was ahead stops no other",
        "tasks/ledger/lua/request_sweep.lua",
        " or under_way > ARGV[2] + 5000)",
        ")",
        (AT_THE_START,),
    ),
    Mutant(
        "scrub: one put off by a clock that was ahead is made by others",
        "tasks/ledger/record_scan.py",
        "if now < int(next_ms or 0) <= now + MAX_WAIT_MS:",
        "if now < int(next_ms or 0):",
        (AT_THE_START,),
    ),
    Mutant(
        "gateway: its clock is set only if a worker agrees with the server",
        "tasks/ledger/shared_time.py",
        "if not (clock.step_ms and confirmed):",
        "if not clock.step_ms:",
        (AT_THE_START,),
    ),
    Mutant(
        "clocks: nothing is sent just after a step was followed",
        "tasks/handlers/clock_checks.py",
        "return Deferred(ctx.clock.now_ms() + left_ms, CLOCK_JUST_SET) if left_ms > 0 else None",
        "return None",
        (STEPS,),
    ),
    Mutant(
        "baseline: one of a clock that was ahead is listed again",
        "tasks/handlers/submit_operation.py",
        "if not baseline.reaches_back(now, _margin_ms(ctx)):",
        "if False:",
        (STEPS,),
    ),
    Mutant(
        "reconciliation lists from before the call, whatever its record says",
        "tasks/ledger/records.py",
        "return min(self.listed_since, self.sent_at - MAX_CLOCK_STEP_MS)",
        "return self.listed_since",
        ("tests/unit/tasks/state_machine/test_baseline.py",),
    ),
    Mutant(
        "limit: a count of the future is not used",
        "tasks/intake/limit_usage.py",
        "and abs(now - count.at) <= COUNT_VALID_MS",
        "and now - count.at <= COUNT_VALID_MS",
        (AHEAD,),
    ),
    Mutant(
        "a time before a call is told by the clock as it is set after it",
        "tasks/runtime/clock.py",
        "return clock.now_ms() - (clock.monotonic_ms() - monotonic_ms)",
        "return clock.now_ms()",
        (AHEAD,),
    ),
    Mutant(
        "baseline reaches back as far as the provider's clock may step",
        "tasks/state_machine/submission.py",
        "return since - margin_ms - MAX_CLOCK_STEP_MS",
        "return since - margin_ms",
        ("tests/unit/tasks/state_machine/test_baseline.py",),
    ),
    Mutant(
        "broker: a server that refuses a transaction ends no worker",
        "workers/broker/broker_client.py",
        "disconnect(inuse_connections=False)\n            raise refusal from error",
        "disconnect(inuse_connections=False)\n            raise",
        ("tests/integration/test_broker_transport.py",),
    ),
    Mutant(
        "scrub: entries that several requests share are seen as each one's",
        "tasks/handlers/first_looks.py",
        "name = (entry.places[0], entry.member, *(record.identity for record in records))",
        "name = (entry.places[0], entry.member)",
        (SCRUBBING,),
    ),
    Mutant(
        "scrub: what is wanted later is not taken for a wrong clock's",
        "tasks/handlers/scrub_ledger.py",
        "return bool(begin) and min(begin) > later",
        "return False",
        (SCRUBBING,),
    ),
    Mutant(
        "callbacks: one that cannot be sent stops no other",
        "tasks/engine/callbacks.py",
        '            log.exception("callback_not_sent", task_id=task_id)',
        "            raise",
        ("tests/integration/test_callbacks.py",),
    ),
    Mutant(
        "scrub: who has found something missing looks again soon",
        "tasks/handlers/scrub_ledger.py",
        "if self._first_looks.any_doubtful:",
        "if False:",
        (SCRUBBING,),
    ),
    Mutant(
        "scrub: what was missing is looked at again out of turn",
        "tasks/handlers/scrub_ledger.py",
        "        await self._look_again()\n",
        "        self._first_looks.take()\n",
        (SCRUBBING,),
    ),
    Mutant(
        "scrub: a slow reading is no second look",
        "tasks/handlers/first_looks.py",
        "if read_at - before[1] < LOOKS_APART_MS:",
        "if now - before[1] < LOOKS_APART_MS:",
        (SCRUBBING,),
    ),
    Mutant(
        "states: an operation moves only along the table of transitions",
        "tasks/state_machine/states.py",
        "if target not in NEXT[operation.state]:",
        "if False:",
        ("tests/unit/tasks/state_machine/test_states.py",),
    ),
    Mutant(
        "listing: one that ends early is no proof",
        "tasks/ehpc/listing.py",
        "if self.last_counted is not None and self.offset < self.last_counted:",
        "if False:",
        (LISTING,),
    ),
    Mutant(
        "listing: a job that is shown twice may hide another",
        "tasks/ehpc/listing.py",
        "        if self.repeated:\n",
        "        if False:\n",
        (LISTING,),
    ),
    Mutant(
        "listing: a row that cannot be read proves no absence",
        "tasks/ehpc/listing.py",
        "        if self.unreadable:\n",
        "        if False:\n",
        (LISTING,),
    ),
    Mutant(
        "listing: it shows what was there when it began",
        "tasks/handlers/reconcile_operation.py",
        "listed_at=seen.listed_at + round(",
        "listed_at=now + round(",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "listing: rows that name no cluster may concern each",
        "tasks/handlers/provider_calls.py",
        "return not row.cluster_ids or cluster_id in row.cluster_ids",
        "return cluster_id in row.cluster_ids",
        (PROVIDER_CALLS,),
    ),
    Mutant(
        "lease: a worker that resumes after it sends nothing",
        "tasks/handlers/submit_operation.py",
        "return -MAX_SKEW_MS <= ctx.clock.now_ms() - sent_at <= ctx.lease_ms",
        "return True",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "gateway: changes are listened to before anybody is served",
        "workers/gateway/serve.py",
        "    await hub.begin()\n",
        "",
        (GATEWAY,),
    ),
    Mutant(
        "gateway: a role may do no more than it may",
        "workers/gateway/access.py",
        "if client.role < role:",
        "if False:",
        (GATEWAY,),
    ),
    Mutant(
        "gateway: a foreign host is refused",
        "workers/gateway/access.py",
        "if host not in self._names:",
        "if False:",
        (GATEWAY,),
    ),
    Mutant(
        "gateway: a foreign origin is refused",
        "workers/gateway/access.py",
        "if origin is not None and",
        "if False and",
        (GATEWAY,),
    ),
    Mutant(
        "gateway: a client cancels its own requests only",
        "workers/gateway/requests.py",
        "if client.role < Role.OPERATE and (client.requested_by is None",
        "if False and (client.requested_by is None",
        (GATEWAY,),
    ),
    Mutant(
        "gateway: a batch of events counts as read with its last one only",
        "workers/gateway/hub.py",
        "events = await self._statuses(names, here)",
        "events = await self._statuses(names, position)",
        ("tests/integration/test_gateway_hub.py",),
    ),
    Mutant(
        "decision: a job that has not ended shows all its nodes",
        "tasks/state_machine/decision_check.py",
        "elif row.status is JobStatus.PENDING and len(row.node_ids) != operation.node_count:",
        "elif row.status is JobStatus.PENDING and not row.node_ids:",
        ("tests/unit/tasks/state_machine/test_decision_check.py",),
    ),
    Mutant(
        "start: another project's packages are refused",
        "workers/own_packages.py",
        "if found != HERE:",
        "if False:",
        ("tests/integration/test_foreign_places.py",),
    ),
    Mutant(
        "lease: it is looked at again once the call's connection is there",
        "tasks/ehpc/connections.py",
        "if may_send is not None and not may_send():",
        "if False:",
        ("tests/unit/tasks/ehpc/test_client.py",),
    ),
    Mutant(
        "a job belongs to one operation of all clusters",
        "tasks/ledger/lua/commit.lua",
        "if owner and owner ~= c[2] then",
        "if false then",
        (LEDGER,),
    ),
    Mutant(
        "a response for an unknown operation marks the ledger",
        "tasks/handlers/record_response.py",
        f"    await ctx.ledger.mark_data_lost()\n{JOB_ID_OF_RESPONSE}    fields",
        f"{JOB_ID_OF_RESPONSE}    fields",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "a response for an operation that is planned marks the ledger",
        "tasks/handlers/record_response.py",
        f"    await ctx.ledger.mark_data_lost()\n{JOB_ID_OF_RESPONSE}    changes",
        f"{JOB_ID_OF_RESPONSE}    changes",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "clocks: nothing is sent while the provider's is behind",
        "tasks/handlers/clock_checks.py",
        "if skew_s is None or abs(skew_s) <= MAX_SKEW_S:",
        "if skew_s is None or skew_s <= MAX_SKEW_S:",
        (PROVIDER_CALLS,),
    ),
    Mutant(
        "clocks: nothing is concluded while they disagree",
        "tasks/state_machine/decision.py",
        "if skew_s is not None and abs(skew_s) > MAX_SKEW_S:",
        "if skew_s is not None and skew_s > MAX_SKEW_S:",
        (DECISION,),
    ),
    Mutant(
        "clocks: a step of the server's is not followed",
        "tasks/runtime/clock.py",
        "if abs(apart) > MAX_STEP_MS:",
        "if False:",
        ("tests/unit/tasks/runtime/test_clock.py",),
    ),
    Mutant(
        "answers to calls are remembered for ten minutes",
        "tasks/ledger/ledger.py",
        "REMEMBER_CALLS_MS = 600_000",
        "REMEMBER_CALLS_MS = 1_000",
        (LEDGER,),
    ),
    Mutant(
        "lost steps are noticed by the id of a step",
        "tasks/ledger/lua/commit.lua",
        "or redis.call('ZSCORE', KEYS[4], ARGV[9])",
        "or true",
        (LEDGER,),
    ),
    Mutant(
        "nothing is sent while a replaced server settles",
        "tasks/ledger/lua/commit.lua",
        "if ARGV[8] == '1' and server_changed() then",
        "if false then",
        (LEDGER,),
    ),
    Mutant(
        "a job without an operation after a failover marks the ledger",
        "tasks/handlers/lost_calls.py",
        "unknown = [job_id for job_id in found if job_id not in owners and job_id not in reported]",
        "unknown: list[str] = []",
        (LOST_CALLS,),
    ),
    Mutant(
        "sentinels: nothing is sent unless most of them name the server",
        "tasks/handlers/submit_operation.py",
        "if not await ctx.ledger.is_on_master():",
        "if False:",
        (f"{SENTINELS}::test_nothing_is_sent_while_most_sentinels_do_not_name_the_server",),
    ),
    Mutant(
        "sentinels: a few of them are no majority",
        "tasks/runtime/redis_servers.py",
        "len(set(answers)) == 1 and 2 * len(answers) > len(self.sentinel_manager.sentinels)",
        "len(set(answers)) == 1",
        (FOLLOWING,),
    ),
    Mutant(
        "sentinels: the old master is left before it is told",
        "tasks/runtime/auto_pipeline.py",
        "            await self._leave_server()\n        return used == {named}",
        "        return used == {named}",
        (FOLLOWING,),
    ),
    Mutant(
        "sentinels: no connection shows what an old master has",
        "tasks/runtime/auto_pipeline.py",
        "self.server not in (None, pool.master_address)",
        "False",
        (FOLLOWING,),
    ),
    Mutant(
        "broker: a sweep that cannot be told of stops no tick",
        "workers/broker/transport.py",
        "with contextlib.suppress(RedisError, OSError):",
        "if True:",
        ("tests/integration/test_broker_transport.py",),
    ),
    Mutant(
        "sentinels: results on an old master are stored again",
        "tasks/engine/celery_results.py",
        "if not still_on_master(backend.client):",
        "if False:",
        (FOLLOWING,),
    ),
    Mutant(
        "a count without its step is no loss",
        "tasks/ledger/epoch.py",
        "elif (step or not self.step) and int(count) >= self.count:",
        "elif int(count) >= self.count:",
        ("tests/unit/tasks/ledger/test_epoch.py",),
    ),
    Mutant(
        "no call is sent before enough replicas know of it",
        "tasks/handlers/submit_operation.py",
        "if replicas < wanted:",
        "if False:",
        ("tests/acceptance/test_replicas.py",),
    ),
    Mutant(
        "a ledger that lost data costs no calls",
        "tasks/handlers/lost_calls.py",
        "    if ledger.epoch.lost:\n",
        "    if False:\n",
        (LOST_CALLS,),
    ),
    Mutant(
        "a flawed listing is no check for lost calls",
        "tasks/handlers/lost_calls.py",
        "        if not listing.flaws:\n",
        "        if True:\n",
        (LOST_CALLS,),
    ),
    Mutant(
        "a marked ledger without an id lets no first step send",
        "tasks/ledger/lua/commit.lua",
        "lost = lost or (ARGV[5]",
        "lost = (ARGV[5]",
        (LEDGER,),
    ),
    Mutant(
        "scrub: an unreadable record stops no other check",
        "tasks/handlers/scrub_ledger.py",
        "await ledger.unless_unreadable(ledger.schedule(name))",
        "await ledger.schedule(name)",
        (SCRUBBING,),
    ),
    Mutant(
        "scrub: an operation whose record is gone is held",
        "tasks/handlers/scrub_ledger.py",
        "                await ledger.unless_unreadable(self._rebuild(operation_id, request))\n",
        "                pass\n",
        (SCRUBBING,),
    ),
    Mutant(
        "scrub: nothing is restored that has moved on",
        "tasks/handlers/scrub_ledger.py",
        "if not self._first_looks.confirm(entry, changes.expected, read_at):",
        "if True:",
        (SCRUBBING, HISTORIES),
    ),
    Mutant(
        "a pool is not forgotten while a request arrives",
        "tasks/ledger/lua/commit.lua",
        "if redis.call('EXISTS', KEYS[w[2]]) == 0 then",
        "if true then",
        (LEDGER,),
    ),
    Mutant(
        "a plan expects that no request arrives meanwhile",
        "tasks/state_machine/planning.py",
        "ChangeSet(expected=[cluster, snapshot.arrivals, *pauses.records])",
        "ChangeSet(expected=[cluster, *pauses.records])",
        ("tests/unit/tasks/state_machine/test_planning.py",),
    ),
    Mutant(
        "ended requests are known for a week",
        "tasks/ledger/outcome_entries.py",
        "return max(self.outcome_ttl_s, MIN_RECORDS_TTL_S)",
        "return self.outcome_ttl_s",
        (LEDGER,),
    ),
    Mutant(
        "an outcome whose public key was deleted is rebuilt",
        "tasks/ledger/reads.py",
        "            if request.ended:\n",
        "            if False:\n",
        (UNREADABLE,),
    ),
    Mutant(
        "an unreadable request keeps its pool",
        "tasks/ledger/reads.py",
        "                partly_read.add(pool)\n",
        "                pass\n",
        (UNREADABLE,),
    ),
    Mutant(
        "an unreadable operation is not taken for one that is gone",
        "tasks/ledger/reads.py",
        "                if not readable_only:\n                    raise\n",
        "",
        (UNREADABLE,),
    ),
    Mutant(
        "optional fields of other versions leave the fingerprint as it is",
        "tasks/contract/request.py",
        "for name, value in given.items() if name in counted}",
        "for name, value in given.items()}",
        ("tests/unit/tasks/contract/test_request.py",),
    ),
    Mutant(
        "ids of schedules are refused to producers",
        "tasks/contract/request.py",
        "and request_id.startswith(SCHEDULE_IDS) and not of_schedule:",
        "and False:",
        ("tests/unit/tasks/contract/test_request.py",),
    ),
    Mutant(
        "a ledger belongs to one account",
        "tasks/ledger/identity.py",
        "if noted not in (None, account_hash(access_key_id)):",
        "if False:",
        (LEDGER,),
    ),
    Mutant(
        "installations share no list of unacknowledged messages",
        "config/celery_options.py",
        '            "unacked_key": f"{prefix}:unacked",\n',
        '            "unacked_key": "unacked",\n',
        ("tests/unit/config/test_celery_options.py",),
    ),
    Mutant(
        "a compressed message is decompressed to a limit",
        "workers/broker/compression.py",
        "decompressor.decompress(body, MAX_BODY + 1)",
        "decompressor.decompress(body, -1) if make is not zlib.decompressobj else zlib.decompress(body)",
        ("tests/unit/workers/broker/test_compression.py",),
    ),
    Mutant(
        "a server is left without harm to what is under way",
        "tasks/runtime/auto_pipeline.py",
        "            connection.leave()\n",
        "            await connection.disconnect()\n",
        ("tests/integration/test_auto_pipeline.py",),
    ),
    Mutant(
        "an error of the program gives the message back",
        "tasks/add_nodes.py",
        "        except Exception as error:",
        "        except NotImplementedError as error:",
        ("tests/acceptance/test_messages_given_back.py",),
    ),
    Mutant(
        "scrub: a request past its deadline needs no plan",
        "tasks/ledger/indexes.py",
        "and request.deadline_at > now:",
        "and True:",
        (SCRUBBING,),
    ),
    Mutant(
        "a server that refuses ends no worker",
        "tasks/runtime/redis_refusals.py",
        "return None if code is None else ServerRefuses(",
        "return None if True else ServerRefuses(",
        ("tests/acceptance/test_a_server_that_refuses.py",),
    ),
    Mutant(
        "cluster lock: one operation of a cluster at a time",
        "tasks/state_machine/planning.py",
        "    if cluster.locked_by is not None:\n        return Plan(changes)\n",
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
        '        self._add("check", self.key_of(record), record.version)\n        self._add("put"',
        "        if record.version:\n"
        '            self._add("check", self.key_of(record), record.version)\n'
        '        self._add("put"',
    ),
    Mutant(
        "lease: due work belongs to one worker for a while",
        "tasks/ledger/lua/claim_due.lua",
        "now + tonumber(ARGV[5])",
        "now + 1",
        (LEDGER,),
    ),
    Mutant(
        "an operation is written as submitting before it is sent",
        "tasks/handlers/submit_operation.py",
        "changes = await ctx.ledger.transact(build)\n    except (DataLost, ServerChanged) as error:",
        "changes = await build()\n    except (DataLost, ServerChanged) as error:",
    ),
    Mutant(
        "what is signed is the recorded time",
        "tasks/handlers/submit_operation.py",
        "ctx.api.add_nodes(operation.zone, body.encode(), utc_second(sent_at), may_send)",
        "ctx.api.add_nodes(operation.zone, body.encode(), utc_second(ctx.clock.now_ms()), may_send)",
    ),
    Mutant(
        "allocations and body are built again when the call is sent",
        "tasks/handlers/submit_operation.py",
        "allocations = still_wanted(current.operation, current.requests, now)",
        "allocations = current.operation.allocations",
    ),
    Mutant(
        "an unclear response decides nothing",
        "tasks/handlers/record_response.py",
        "    if not isinstance(response, InDoubt):\n",
        "    if True:\n",
    ),
    Mutant(
        "a definite response is recorded, however long Redis is away",
        "tasks/handlers/record_response.py",
        "except (RedisError, OSError, WriteConflict) as error:",
        "except WriteConflict as error:",
        (LATE_RESPONSES,),
    ),
    Mutant(
        "baseline: jobs that were there before are not ours",
        "tasks/state_machine/decision.py",
        "{*(operation.baseline or ()), *owned_by_others}",
        "{*owned_by_others}",
        (DECISION, HISTORIES),
    ),
    Mutant(
        "baseline reaches back to the first doubt on the cluster",
        "tasks/handlers/submit_operation.py",
        "since = submission.baseline_since(snapshot.cluster, ctx.clock.now_ms(), _margin_ms(ctx))",
        "since = ctx.clock.now_ms()",
        (UNUSUAL,),
    ),
    Mutant(
        "jobs of other operations are not ours",
        "tasks/state_machine/decision.py",
        "{*(operation.baseline or ()), *owned_by_others}",
        "{*(operation.baseline or ())}",
        (HISTORIES, DECISION),
    ),
    Mutant(
        "a listing is complete",
        "tasks/handlers/provider_calls.py",
        "while not listing.complete:",
        "while not listing.offset:",
        ("tests/simulation/test_odd_listings.py",),
    ),
    Mutant(
        "the number of nodes has to fit",
        "tasks/state_machine/decision.py",
        "nodes not in (0, sent)",
        "False",
        (HISTORIES, DECISION),
    ),
    Mutant(
        "the action has to fit",
        "tasks/state_machine/decision.py",
        "if row.job_action != rules.job_action:",
        "if False:",
        (HISTORIES, DECISION),
    ),
    Mutant(
        "two candidates are held",
        "tasks/state_machine/decision.py",
        "if len(candidates) > 1:",
        "if False:",
        (HISTORIES, DECISION),
    ),
    Mutant(
        "adopted only when no other job of ours can come",
        "tasks/state_machine/decision.py",
        "if listed_at <= shown_until:\n        #",
        "if False:\n        #",
        (DECISION,),
    ),
    Mutant(
        "absence: the signature's lifetime",
        "tasks/state_machine/decision.py",
        "sent_at + self.signature_ttl_ms + MAX_SKEW_MS",
        "sent_at + MAX_SKEW_MS",
        (DECISION, HISTORIES),
    ),
    Mutant(
        "absence: the provider's clock may differ",
        "tasks/state_machine/decision.py",
        "sent_at + self.signature_ttl_ms + MAX_SKEW_MS",
        "sent_at + self.signature_ttl_ms",
        (DECISION,),
    ),
    Mutant(
        "absence: the call's timeout",
        "tasks/state_machine/decision.py",
        "self.shown_until(sent_at) + self.http_timeout_ms",
        "self.shown_until(sent_at)",
        (DECISION,),
    ),
    Mutant(
        "absence: the log's lag",
        "tasks/state_machine/decision.py",
        "self.executed_until(sent_at) + self.lag_ms",
        "self.executed_until(sent_at)",
        (DECISION,),
    ),
    Mutant(
        "absence: a second listing",
        "tasks/state_machine/decision.py",
        "    if operation.absent_since is None:\n",
        "    if False:\n",
        (DECISION,),
    ),
    Mutant(
        "absence: the log has shown a job of ours",
        "tasks/state_machine/decision.py",
        "if not rules.action_seen:",
        "if False:",
        (DECISION,),
    ),
    Mutant(
        "outcomes leave the outbox after they are published",
        "tasks/handlers/publish_outcomes.py",
        "        outcomes = await ctx.ledger.outcomes_for(pairs)",
        "        await ctx.ledger.remove_from_outbox(pairs)\n"
        "        outcomes = await ctx.ledger.outcomes_for(pairs)",
    ),
    Mutant(
        "a waiting task subscribes in the script that knows whether the request has ended",
        "tasks/ledger/lua/subscribe.lua",
        "  redis.call('SADD', KEYS[2], ARGV[3])\n",
        "",
        (LEDGER,),
    ),
    Mutant(
        "nodes of a successful job are all there",
        "tasks/state_machine/node_arrivals.py",
        "return not result.successful or",
        "return",
    ),
    Mutant(
        "quota: the window",
        "tasks/quota/lua/reserve.lua",
        "if again > now then return {'DENIED', now, again} end",
        "",
        (HISTORIES, RATE_LIMITER),
    ),
    Mutant(
        "quota: submissions leave the calls reserved for polling",
        "tasks/quota/lua/reserve.lua",
        "free_again(2, used[1] + used[2] + wanted - tonumber(ARGV[4]))",
        "now",
        (RATE_LIMITER,),
    ),
    Mutant(
        "quota: a call counts until a window after its reply",
        "tasks/quota/rate_limiter.py",
        "self._clock.now_ms() + CLOCK_MARGIN_MS",
        "self._clock.now_ms() - self._window_ms",
        (HISTORIES, RATE_LIMITER),
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
        "limit: checked when an operation is planned",
        "tasks/state_machine/planning.py",
        "            first.parts = limits.filter(changes, first.parts, now)\n",
        "            pass\n",
        (LIMITS,),
    ),
    Mutant(
        "limit: checked again by the script that locks the cluster",
        "tasks/ledger/lua/commit.lua",
        "if used_in(KEYS[c[1]], KEYS[c[2]], c[3]) + c[4] > c[5] then",
        "if false then",
        (USAGE, LIMITS),
    ),
    Mutant(
        "limit: that script gets the rolling limits of a plan",
        "tasks/state_machine/plan_limits.py",
        "for limit in rolling(self.policy, cluster_id, request.valid_spec.requested_by):",
        "for limit in ():",
        (LIMITS,),
    ),
    Mutant(
        "limit: nodes in flight are checked by the script that accepts a request",
        "tasks/intake/limit_check.py",
        "            if not limit.waits\n",
        "            if False\n",
        (INTAKE, LIMITS),
    ),
    Mutant(
        "limit: a cluster's nodes are counted again after each operation",
        "tasks/intake/limit_usage.py",
        "count.after == cluster.last_operation and",
        "",
        (LIMITS,),
    ),
    Mutant(
        "limit: nodes count from when their job is known, not from the plan",
        "tasks/ledger/usage_counters.py",
        "at = now if known else None",
        "at = now",
        (USAGE,),
    ),
    Mutant(
        "limit: nodes in doubt keep counting",
        "tasks/ledger/usage_counters.py",
        "{State.REFUSED, State.NOT_EXECUTED, State.ABANDONED}",
        "{State.REFUSED, State.NOT_EXECUTED, State.ABANDONED, State.IN_DOUBT}",
        (USAGE, LIMITS),
    ),
    Mutant(
        "limit: nodes that no listing shows yet are counted",
        "tasks/handlers/plan_cluster.py",
        "present=max(present, _at_least(cluster, last, time_then(ctx.clock, began), lag_ms))",
        "present=present",
        (LIMITS,),
    ),
    Mutant(
        "limit: an outdated plan is checked against the policy again",
        "tasks/handlers/submit_operation.py",
        "outdated = abs(ctx.clock.now_ms() - snapshot.operation.planned_at) > COUNT_VALID_MS",
        "outdated = False",
        (LIMITS,),
    ),
    Mutant(
        "schedule: the step that makes the request records the occurrence as handled",
        "tasks/schedules/fire.py",
        '"last_handled": last.occurrence, ',
        "",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: an occurrence whose request exists makes no second one",
        "tasks/schedules/build_request.py",
        "if await ledger.request(request_id) is None:",
        "if True:",
        (FIRING,),
    ),
    Mutant(
        "schedule: what was handled is never handled again",
        "tasks/schedules/timetable.py",
        "first = next(schedule.occurrences(_time(last_handled)), None)",
        "first = next(schedule.occurrences(_time(now - catch_up_ms)), None)",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: an occurrence that is too old is not caught up",
        "tasks/schedules/timetable.py",
        "if missed is not None:",
        "if False:",
        (FIRING,),
    ),
    Mutant(
        "schedule: a new one has no past occurrences",
        "tasks/schedules/timetable.py",
        "return max(last_handled, now)",
        "return last_handled",
        (FIRING,),
    ),
    Mutant(
        "schedule: nothing is requested from a ledger that lost data",
        "tasks/schedules/build_request.py",
        "ChangeSet(sends=True)",
        "ChangeSet()",
        (FIRING,),
    ),
    Mutant(
        "schedule: after an acknowledged data loss there are no past occurrences",
        "tasks/schedules/sync.py",
        "record.gone or record.epoch != epoch",
        "record.gone",
        (FIRING,),
    ),
    Mutant(
        "schedule: demand that arrives while nodes are counted causes a conflict",
        "tasks/schedules/build_request.py",
        "changes.expected += [cluster, arrivals]",
        "changes.expected += [cluster]",
        (FIRING, SCHEDULES),
    ),
    Mutant(
        "schedule: nodes on their way count",
        "tasks/schedules/build_request.py",
        "- count.present - count.on_its_way",
        "- count.present",
        (SCHEDULES,),
    ),
    Mutant(
        "schedule: a listing is used only if no operation began or ended since",
        "tasks/schedules/build_request.py",
        "listing is None or not listing.fits(cluster)",
        "listing is None",
        (FIRING,),
    ),
    Mutant(
        "schedule: nodes of a running operation are not counted twice",
        "tasks/schedules/node_count.py",
        "len(there) - min(len(added), operation.node_count)",
        "len(there)",
        (NODE_COUNT,),
    ),
    Mutant(
        "pause: checked by the step that writes an operation as submitting",
        "tasks/state_machine/submission.py",
        "    changes.expected.extend(snapshot.pauses.records)\n",
        "",
        (PAUSES,),
    ),
    Mutant(
        "pause: checked again before an operation is written as submitting",
        "tasks/handlers/submit_operation.py",
        "if await park_while_paused(ctx, current):",
        "if False:",
        (PAUSES,),
    ),
    Mutant(
        "pause: checked by the step that locks the cluster",
        "tasks/state_machine/planning.py",
        "ChangeSet(expected=[cluster, snapshot.arrivals, *pauses.records])",
        "ChangeSet(expected=[cluster, snapshot.arrivals])",
        (PAUSES,),
    ),
    Mutant(
        "pause: the planning knows of it",
        "tasks/state_machine/planning.py",
        "if (pause := pauses.in_force(now)) is not None:",
        "if (pause := pauses.in_force(now)) is not None and False:",
        (PAUSES,),
    ),
    Mutant(
        "pause: parked entries return in the step that ends it",
        "tasks/state_machine/pauses.py",
        ", Unpark(record.scope, now))",
        ")",
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
        "breaker: opens after consecutive failures",
        "tasks/state_machine/circuit_breaker.py",
        "MAX_FAILURES = 5",
        "MAX_FAILURES = 500",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: nothing is sent until its pause is over",
        "tasks/state_machine/planning.py",
        "max(now, breaker.until)",
        "now",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: its pause grows",
        "tasks/state_machine/circuit_breaker.py",
        "FIRST_WAIT_MS * 2 ** min(before.opened, 30)",
        "FIRST_WAIT_MS",
        (BREAKERS,),
    ),
    Mutant(
        "breaker: the probe is small",
        "tasks/state_machine/planning.py",
        "circuit_breaker.probe_of(ready))",
        "_share_call(ready)[0])",
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
        "cluster = circuit_breaker.failed(changes,",
        "_ = circuit_breaker.failed(changes,",
        (BREAKERS,),
    ),
    Mutant(
        "tick: a step of another worker is looked at",
        "tasks/ledger/ledger.py",
        "if seen == before and self.clock.monotonic_ms() < self._look_at_ms:",
        "if self.clock.monotonic_ms() < self._look_at_ms:",
        (LARGE,),
    ),
    Mutant(
        "tick: what was seen earlier is looked at when it is due",
        "tasks/ledger/ledger.py",
        "self._look_at_ms = self.clock.monotonic_ms() + min(LOOK_EVERY_MS, due_in_ms)",
        "self._look_at_ms = self.clock.monotonic_ms() + LOOK_EVERY_MS",
        (LARGE,),
    ),
    Mutant(
        "tick: everything is looked at now and then",
        "tasks/ledger/ledger.py",
        "due_in_ms = LOOK_EVERY_MS if next_due < 0 else next_due - self.clock.now_ms()\n"
        "        self._look_at_ms = self.clock.monotonic_ms() + min(LOOK_EVERY_MS, due_in_ms)",
        "due_in_ms = 10**12 if next_due < 0 else next_due - self.clock.now_ms()\n"
        "        self._look_at_ms = self.clock.monotonic_ms() + due_in_ms",
        (LARGE,),
    ),
    Mutant(
        "ended: an index is used only while it is complete",
        "tasks/ledger/ended_index.py",
        "if not found or not await is_complete(ledger):",
        "if not found:",
        (LARGE,),
    ),
    Mutant(
        "plan: heads are used only while they are complete",
        "tasks/ledger/lua/cluster_snapshot.lua",
        "total > limit and redis.call('ZCARD', KEYS[7]) == total then",
        "total > limit then",
        (LARGE,),
    ),
    Mutant(
        "plan: all pools are read if none of the first is ready",
        "tasks/handlers/plan_cluster.py",
        "    return await ctx.ledger.cluster_snapshot(cluster_id)\n",
        "    return snapshot\n",
        (LARGE,),
    ),
    Mutant(
        "scrub: an ended request with a running job is checked again",
        "tasks/handlers/scrub_ledger.py",
        "settled = [request for request in known if request.ended and not request.live_assignments]",
        "settled = [request for request in known if request.ended]",
        (SCRUBBING,),
    ),
    Mutant(
        "broker: a wait ends once a sweep is sent",
        "workers/broker/transport.py",
        "if client.client_unblock(waiting):",
        "if True:",
        ("tests/integration/test_broker_transport.py",),
    ),
    Mutant(
        "broker: messages in other lists than the awaited one are found",
        "workers/broker/transport.py",
        "self._next = _Step.CLAIM if reply else _Step.LOOK",
        "self._next = _Step.CLAIM if reply else _Step.WAIT",
        ("tests/integration/test_broker_transport.py",),
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
        for tests in mutant.tests:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", tests],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 1:
                return Path(tests).stem, time.monotonic() - began
            if done.returncode != 0:
                raise SystemExit(f"{mutant.safeguard}: {tests} could not run\n{done.stdout[-2000:]}")
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
