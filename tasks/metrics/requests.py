"""Open requests, and the operations that serve them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.ledger.due import DueKind
from tasks.ledger.durations import Duration, percentile
from tasks.ledger.ledger import Ledger
from tasks.ledger.outcome_entries import ENDED
from tasks.ledger.pools import pool_of
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation, Request
from tasks.metrics.families import Sample
from tasks.views.read_status import read_statuses
from tasks.views.status import state_of

MAX_REQUESTS = 1_000
MAX_REASONS = 200
MAX_OPERATIONS = 2_000
STATES = ("waiting", "in_progress", "held")
STATUSES = ("succeeded", "partially_succeeded", "failed", "timed_out", "rejected", "cancelled")
LIVE = (State.PLANNED, State.SUBMITTING, State.IN_DOUBT, State.RUNNING, State.HELD)
STUCK_AFTER = 3
LEAST_JOBS = 5


async def request_samples(ledger: Ledger, counters: dict[str, int]) -> list[Sample]:
    """Return open requests by state, and the age of the oldest by reason."""
    now = ledger.clock.now_ms()
    ids = await ledger.overview.open_requests(MAX_REQUESTS)
    requests = list((await ledger.requests(ids, readable_only=True)).values()) if ids else []
    states = Counter(state_of(request) for request in requests)
    samples = [Sample("scaleout_requests_open", await ledger.overview.open_count())]
    samples += [Sample("scaleout_requests_state", states[state], (state,)) for state in STATES]
    overdue = sum(now > request.deadline_at for request in requests)
    samples.append(Sample("scaleout_requests_overdue", overdue))
    samples += await _oldest(ledger, requests[:MAX_REASONS], now)
    for status in STATUSES:
        samples.append(Sample("scaleout_requests_total", counters.get(f"{ENDED}{status}", 0), (status,)))
    return samples


async def _oldest(ledger: Ledger, requests: list[Request], now: int) -> list[Sample]:
    found: dict[str, int] = {}
    for request, status in zip(requests, await read_statuses(ledger, requests), strict=True):
        reason = "none" if status.reason is None else status.reason.kind
        found[reason] = max(found.get(reason, 0), now - request.accepted_at)
    return [
        Sample("scaleout_requests_oldest_seconds", age_ms / 1000, (reason,))
        for reason, age_ms in sorted(found.items())
    ]


async def operation_samples(ledger: Ledger) -> list[Sample]:
    """Return the operations that have not ended, and which of their jobs are missing or stuck."""
    names, zones = await _live_operations(ledger)
    operations = (await ledger.operations(names[:MAX_OPERATIONS], readable_only=True)).values()
    states = Counter(operation.state for operation in operations)
    samples = [Sample("scaleout_operations", states[state], (state.value,)) for state in LIVE]
    missing = [job for zone in zones for job in (await ledger.zone(zone)).missing]
    samples.append(Sample("scaleout_jobs_missing", len(missing)))
    samples.append(Sample("scaleout_jobs_stuck", len(await stuck_jobs(ledger, operations))))
    return samples


async def _live_operations(ledger: Ledger) -> tuple[list[str], list[str]]:
    """Return the ids of operations that have not ended, and the zones where jobs run."""
    due = await ledger.overview.due_of_kinds(DueKind.ZONE, DueKind.SUBMISSION, DueKind.OPERATION)
    zones = [entry.name for entry in due if entry.kind is DueKind.ZONE]
    names = [entry.name for entry in due if entry.kind is not DueKind.ZONE]
    for zone in zones:
        names += [operation_id for operation_id, _ in (await ledger.running(zone)).values()]
    names += await ledger.overview.held_operations()
    return list(dict.fromkeys(names)), zones


async def running_operations(ledger: Ledger) -> list[Operation]:
    """Return the operations that have not ended, 2,000 at most."""
    names, _ = await _live_operations(ledger)
    return list((await ledger.operations(names[:MAX_OPERATIONS], readable_only=True)).values())


async def stuck_jobs(ledger: Ledger, operations: Iterable[Operation]) -> list[tuple[Operation, int, int]]:
    """Return jobs that run much longer than their pool's, each with its age and the pool's usual one (ms).

    A pool of which fewer than five jobs are known shows nothing of what is usual there.
    """
    running = {
        one.request_ids[0]: one
        for one in operations
        if one.state is State.RUNNING and one.sent_at is not None and one.request_ids
    }
    requests = await ledger.requests(running, readable_only=True)
    pools = {
        name: (running[name].cluster_id, pool_of(request.spec))
        for name, request in requests.items()
        if request.spec is not None
    }
    names = sorted(set(pools.values()))
    known = await ledger.overview.durations_of(names)
    usual = dict(zip(names, map(_usual_ms, known), strict=True))
    now, found = ledger.clock.now_ms(), []
    for name, pool in pools.items():
        p95, age = usual[pool], now - (running[name].sent_at or now)
        if p95 is not None and age > STUCK_AFTER * p95:
            found.append((running[name], age, p95))
    return found


def _usual_ms(durations: Sequence[Duration]) -> int | None:
    """Return how long 95 % of a pool's jobs took at most, if enough of them are known."""
    succeeded = [one.ms for one in durations if one.ok]
    return percentile(succeeded, 0.95) if len(succeeded) >= LEAST_JOBS else None
