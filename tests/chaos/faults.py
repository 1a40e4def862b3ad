"""What goes wrong in a run: kinds of faults, and a plan of them from a seed.

A fault is a generator: it does something, yields for how many seconds that lasts, and mends it.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import redis

from tests.chaos.environment import SUBMIT_LEASE_S, Environment
from tests.chaos.tcp_proxy import Broken, TcpProxy

Course = Iterator[float]
Start = Callable[[Environment, random.Random], Course]
OnNetwork = Callable[[TcpProxy, random.Random], Course]

TRAP_S = 10.0
ADD_NODES = b"addNodes"
INDEXES = ("scaleout:open", "scaleout:due:submissions", "scaleout:due:all-else", "scaleout:running:jn1a")

Change = Callable[[redis.Redis], object]


def worker_killed(harness: Environment, rng: random.Random) -> Course:
    worker = rng.choice(harness.fleet.workers)
    worker.kill()
    yield rng.uniform(0.2, 2.0)
    worker.start()


def all_workers_killed(harness: Environment, rng: random.Random) -> Course:
    for worker in harness.fleet.workers:
        worker.kill()
    yield rng.uniform(0.5, 2.0)
    for worker in harness.fleet.workers:
        worker.start()


def worker_stopped_past_its_lease(harness: Environment, rng: random.Random) -> Course:
    worker = rng.choice(harness.fleet.workers)
    worker.pause()
    yield SUBMIT_LEASE_S + rng.uniform(0.5, 4.0)
    worker.resume()


def server_killed(harness: Environment, rng: random.Random) -> Course:
    harness.server.kill()
    yield rng.uniform(0.1, 2.0)
    harness.server.start()


def refuses(begin: Change, end: Change) -> Start:
    """The server answers, and refuses."""

    def course(harness: Environment, rng: random.Random) -> Course:
        # Killed meanwhile, it comes back and refuses nothing.
        with harness.server.client() as client, suppress(redis.RedisError):
            begin(client)
            yield rng.uniform(0.3, 3.0)
            end(client)

    return course


def index_deleted(harness: Environment, rng: random.Random) -> Course:
    with harness.server.client() as client, suppress(redis.RedisError):
        client.delete(rng.choice(INDEXES))
    yield 0.0


def cut(proxy: TcpProxy, rng: random.Random) -> Course:
    proxy.cut()
    yield 0.0


def frozen(proxy: TcpProxy, rng: random.Random) -> Course:
    proxy.freeze()
    yield 0.0


def half_closed(proxy: TcpProxy, rng: random.Random) -> Course:
    proxy.half_close(towards_client=rng.random() < 0.5)
    yield 0.0


def unreachable(proxy: TcpProxy, rng: random.Random) -> Course:
    proxy.refuse()
    yield rng.uniform(0.5, 3.0)
    proxy.accept()


def slow(proxy: TcpProxy, rng: random.Random) -> Course:
    seconds = rng.uniform(1.0, 3.0)
    proxy.slow(rng.uniform(0.05, 0.8), seconds)
    yield seconds


def delivered_late(proxy: TcpProxy, rng: random.Random) -> Course:
    seconds = rng.uniform(1.0, 5.0)
    proxy.stall(seconds)
    yield seconds


def broken(how: Broken, about: bytes = b"") -> OnNetwork:
    def breaks(proxy: TcpProxy, rng: random.Random) -> Course:
        proxy.break_next(how, times=rng.choice([1, 1, 2, 5]), within_s=TRAP_S, about=about)
        yield 0.0

    return breaks


def _to_redis(what: OnNetwork) -> Start:
    return lambda harness, rng: what(harness.redis_proxy, rng)


def _to_provider(what: OnNetwork) -> Start:
    return lambda harness, rng: what(harness.http_proxy, rng)


NETWORK: dict[str, OnNetwork] = {
    "connections reset": cut,
    "connections frozen": frozen,
    "connections half-closed": half_closed,
    "unreachable": unreachable,
    "slow": slow,
    "all delivered late": delivered_late,
    "replies lost": broken("replies lost"),
    "requests cut off": broken("requests cut off"),
    "replies cut off": broken("replies cut off"),
}
OF_A_SENDING: dict[str, OnNetwork] = {
    "reply to addNodes lost": broken("replies lost", ADD_NODES),
    "addNodes cut off": broken("requests cut off", ADD_NODES),
    "reply to addNodes cut off": broken("replies cut off", ADD_NODES),
}

REFUSALS: dict[str, Start] = {
    "out of memory": refuses(
        lambda client: client.config_set("maxmemory", 1), lambda client: client.config_set("maxmemory", 0)
    ),
    "read-only": refuses(
        lambda client: client.replicaof("127.0.0.1", "1"), lambda client: client.replicaof("NO", "ONE")
    ),
    "too few replicas": refuses(
        lambda client: client.config_set("min-replicas-to-write", 1),
        lambda client: client.config_set("min-replicas-to-write", 0),
    ),
}

# Kinds twice in the list come twice as often.
KINDS: list[tuple[str, Start]] = [
    *[("worker killed", worker_killed)] * 3,
    ("all workers killed", all_workers_killed),
    *[("worker stopped past its lease", worker_stopped_past_its_lease)] * 2,
    *[("Redis server killed", server_killed)] * 2,
    *[(f"Redis: {name}", _to_redis(what)) for name, what in NETWORK.items()],
    ("Redis: connections frozen", _to_redis(frozen)),
    *[(f"Redis: {name}", start) for name, start in REFUSALS.items()],
    ("Redis: an index deleted", index_deleted),
    *[(f"provider: {name}", _to_provider(what)) for name, what in NETWORK.items()],
    *[(f"provider: {name}", _to_provider(what)) for name, what in OF_A_SENDING.items()],
]


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s`: seconds since the start of the run."""

    at_s: float
    kind: str
    start: Start
    seed: str

    def course(self, harness: Environment) -> Course:
        return self.start(harness, random.Random(self.seed))


def plan_faults(seed: int, *, number: int, first_s: float, last_s: float) -> list[Fault]:
    """At least one of each kind if `number` allows it, at random times, in order of time."""
    rng = random.Random(f"faults {seed}")
    kinds = list(dict(KINDS).items())
    rng.shuffle(kinds)
    kinds = (kinds + [rng.choice(KINDS) for _ in range(number)])[:number]
    times = sorted(rng.uniform(first_s, last_s) for _ in kinds)
    rng.shuffle(kinds)
    return [
        Fault(at_s, name, start, f"{seed} {place}")
        for place, (at_s, (name, start)) in enumerate(zip(times, kinds, strict=True))
    ]
