"""The ledger and its workers: whether work goes on at all."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.ledger.change_entries import JOBS, NODES
from tasks.ledger.ledger import Ledger
from tasks.metrics.families import Sample
from tasks.views.fleet import ALIVE_S

# kombu puts the messages of each priority into a list of its own (kombu/transport/redis.py).
OF_PRIORITIES = ("", *(f"\x06\x16{step}" for step in (3, 6, 9)))


async def health_samples(ledger: Ledger) -> list[Sample]:
    now, beats = ledger.clock.now_ms(), await ledger.overview.heartbeats()
    redis: Any = ledger.redis
    return [
        Sample("scaleout_redis_up", 1),
        Sample("scaleout_ledger_lost", await ledger.lost_since() is not None),
        Sample("scaleout_clock_offset_seconds", await ledger.clock_stepped_ms() / 1000),
        Sample("scaleout_workers_alive", sum(now - at < ALIVE_S * 1000 for at in beats.values())),
        Sample("scaleout_due_lag_seconds", max(0.0, await ledger.overview.overdue_s())),
        Sample("scaleout_dead_letters", int(await redis.llen(ledger.keys.dead_letters))),
        Sample("scaleout_records_unreadable", int(await redis.zcard(ledger.keys.unreadable))),
    ]


async def queue_samples(broker: Any, queues: Sequence[str]) -> list[Sample]:
    """Return how many messages wait in each queue. `broker`: a client of its server."""
    samples = []
    for queue in queues:
        lengths = [int(await broker.llen(f"{queue}{suffix}")) for suffix in OF_PRIORITIES]
        samples.append(Sample("scaleout_queue_messages", sum(lengths), (queue,)))
    return samples


def counter_samples(counters: Mapping[str, int]) -> list[Sample]:
    """Return what the ledger counts: jobs, nodes, and events of the journal."""
    samples = [
        Sample("scaleout_jobs_total", counters.get(name, 0), (name.partition(":")[2],))
        for name in JOBS.values()
    ]
    samples.append(Sample("scaleout_nodes_added_total", counters.get(NODES, 0)))
    events = {name: count for name, count in counters.items() if ":" not in name}
    samples += [
        Sample("scaleout_ledger_events_total", count, (name,)) for name, count in sorted(events.items())
    ]
    return samples
