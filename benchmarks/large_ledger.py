"""A ledger with many requests, written as workers would have, but quickly: copies of a few records."""

from collections.abc import Iterator
from itertools import islice

import redis

from tasks.contract.request import ScaleOutRequest
from tasks.ledger.durations import Duration
from tasks.ledger.keys import Keys
from tasks.ledger.outcome_entries import ended_indexes
from tasks.ledger.outcomes import outcome_of
from tasks.ledger.pools import Pool, pool_of
from tasks.ledger.record_values import Allocation, Assignment, State
from tasks.ledger.records import Operation, Request

KEYS = Keys("scaleout")
AT_ONCE = 1_000
EVERY_MS = 800
KEPT_S = 7 * 86_400
HOUR_MS = 3_600_000
PRODUCERS = 20


def fill(client: redis.Redis, *, ended: int, waiting: int = 0, clusters: int = 2_000) -> None:
    """Write `ended` requests of the last days, and `waiting` ones that wait for a pause to end."""
    seconds, micros = client.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    _each(client, (_ended(number, clusters, now) for number in range(ended)))
    _each(client, (_waiting(number, clusters, now) for number in range(waiting)))


def fill_pools(client: redis.Redis, pools: int, now: int | None = None) -> None:
    """Write one request in each of `pools` pools of the cluster `ehpc-pools`, that has come by `now` (ms)."""
    if now is None:
        seconds, micros = client.time()
        now = int(seconds) * 1000 + int(micros) // 1000
    first = now - HOUR_MS
    _each(client, (_in_a_pool(number, first, now) for number in range(pools)))


Commands = list[tuple[object, ...]]


def _each(client: redis.Redis, rows: Iterator[Commands]) -> None:
    while page := list(islice(rows, AT_ONCE)):
        with client.pipeline(transaction=False) as pipe:
            for commands in page:
                for command in commands:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            pipe.execute()


def _spec(number: int, clusters: int, kind: str) -> ScaleOutRequest:
    return ScaleOutRequest(
        request_id=f"{kind}-{number:06}",
        cluster_id=f"ehpc-large{number % clusters:05}",
        zone="jn1a",
        node_count=2,
        requested_by=f"producer-{number % PRODUCERS}",
    )


def _ended(number: int, clusters: int, now: int) -> Commands:
    spec, at = _spec(number, clusters, "old"), now - (number + 1) * EVERY_MS
    operation_id = f"op-{number:016x}"
    part = Assignment(
        operation_id=operation_id,
        node_count=2,
        state=State.SUCCEEDED,
        job_id=f"j-{number:08x}",
        nodes_added=2,
        node_ids=(f"i-{number:06}a", f"i-{number:06}b"),
        submitted_at=at - 60_000,
        finished_at=at,
    )
    request = Request(
        version=3,
        request_id=spec.request_id,
        spec=spec.content,
        fingerprint=spec.fingerprint(),
        accepted_at=at - 62_000,
        deadline_at=at + 2 * HOUR_MS,
        assignments=(part,),
        status="succeeded",
        finished_at=at,
    )
    operation = Operation(
        version=4,
        operation_id=operation_id,
        cluster_id=spec.cluster_id,
        zone=spec.zone,
        node_role=spec.node_role,
        state=State.SUCCEEDED,
        allocations=(Allocation(request_id=spec.request_id, node_count=2),),
        planned_at=at - 61_000,
        sent_at=at - 60_000,
        job_id=part.job_id,
        nodes_added=2,
        node_ids=part.node_ids,
        finished_at=at,
    )
    line = '{"at": "2026-01-01T00:00:00.000Z", "event": "request_accepted"}'
    pool = Pool.of(spec.content)
    name = spec.request_id
    return [
        ("HSET", KEYS.request(name), "version", 3, "content", request.content()),
        ("EXPIRE", KEYS.request(name), KEPT_S),
        ("HSET", KEYS.operation(operation_id), "version", 4, "content", operation.content()),
        ("EXPIRE", KEYS.operation(operation_id), KEPT_S),
        ("SET", KEYS.outcome(name), outcome_of(request).model_dump_json(), "EX", KEPT_S),
        ("RPUSH", KEYS.history(name), *[line] * 5),
        ("EXPIRE", KEYS.history(name), KEPT_S),
        ("ZADD", KEYS.ended, at, name),
        *(
            ("ZADD", index, at, name)
            for index in ended_indexes(
                KEYS, status="succeeded", cluster_id=spec.cluster_id, requested_by=spec.requested_by
            )
        ),
        ("ZADD", KEYS.settled, at, f"request:{name}", at, f"operation:{operation_id}"),
        ("RPUSH", KEYS.durations(pool.cluster_id, pool.name), Duration(60_000, 2, True, at).text()),
        ("EXPIRE", KEYS.durations(pool.cluster_id, pool.name), KEPT_S),
        ("ZADD", KEYS.pools_seen, at, pool.text()),
    ]


def _in_a_pool(number: int, first: int, now: int) -> Commands:
    spec = ScaleOutRequest(
        request_id=f"pool-{number:06}",
        cluster_id="ehpc-pools",
        zone="jn1a",
        node_count=2,
        resource_conf={"cpu": number + 1, "memory": 8},
    )
    return _waits(spec, first + number, now)


def _waiting(number: int, clusters: int, now: int) -> Commands:
    return _waits(_spec(number, clusters, "open"), now, now)


def _waits(spec: ScaleOutRequest, at: int, now: int) -> Commands:
    request = Request(
        version=1,
        request_id=spec.request_id,
        spec=spec.content,
        fingerprint=spec.fingerprint(),
        accepted_at=at,
        deadline_at=now + 24 * HOUR_MS,
        unassigned_nodes=2,
    )
    name, pool = spec.request_id, pool_of(spec.content)
    return [
        ("HSET", KEYS.request(name), "version", 1, "content", request.content()),
        ("ZADD", KEYS.index("open"), at, name),
        ("ZADD", KEYS.demand(spec.cluster_id, pool), at, name),
        ("SADD", KEYS.pools(spec.cluster_id), pool),
        ("ZADD", KEYS.heads(spec.cluster_id), at, pool),
        ("ZADD", KEYS.due("all-else"), now + 24 * HOUR_MS, f"request:{name}"),
        # As if all of it were paused: nothing is sent, and everything is read.
        ("ZADD", KEYS.due("submissions"), now + HOUR_MS, f"cluster:{spec.cluster_id}"),
    ]
