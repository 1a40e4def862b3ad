"""What goes wrong in the simulated world, by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.ledger.pauses import EVERYTHING
from tasks.runtime.clock import MAX_STEP_MS
from tests.simulation import people

if TYPE_CHECKING:
    from tests.simulation.world import World

BEGAN_MS = 1_700_000_000_000
FIRST_MS = 120_000


@dataclass(frozen=True)
class Chances:
    """How likely each thing goes wrong, for each time it could."""

    crash: float = 0.0
    stop: float = 0.0
    redis_fails: float = 0.0
    outage: float = 0.0
    sends_twice: float = 0.0
    connection_refused: float = 0.0
    read_fails: float = 0.0
    read_is_slow: float = 0.0
    message_twice: float = 0.0
    message_lost: float = 0.0
    time_passes: float = 0.0
    cancel: float = 0.0
    pause: float = 0.0
    resume: float = 0.0
    foreign: float = 0.0
    decides_by_guess: float = 0.0
    clock_steps: float = 0.0
    server_clock_steps: float = 0.0
    machine_starts: float = 0.0
    call_outcomes: Mapping[str, float] = field(default_factory=dict)


CALM = Chances()
WILD = Chances(
    crash=0.004,
    stop=0.004,
    redis_fails=0.004,
    outage=0.0015,
    sends_twice=0.05,
    connection_refused=0.03,
    read_fails=0.05,
    read_is_slow=0.3,
    message_twice=0.2,
    message_lost=0.1,
    time_passes=0.02,
    cancel=0.002,
    pause=0.003,
    resume=0.01,
    foreign=0.002,
    decides_by_guess=0.004,
    clock_steps=0.001,
    server_clock_steps=0.005,
    machine_starts=0.001,
    call_outcomes={
        "lost on the way": 0.08,
        "reply lost": 0.12,
        "unclear reply": 0.08,
        "made but busy": 0.05,
        "internal error": 0.05,
        "refused 1400": 0.05,
        "refused 5200": 0.05,
        "refused 1300": 0.02,
        "job fails": 0.05,
        "names another job": 0.03,
    },
)


def random_faults(world: World) -> None:
    """Let chance decide what goes wrong before the next event."""
    if world.calm or world.faults_over:
        return
    _step_clocks(world)
    alive = [worker for worker in world.workers if worker.alive]
    if alive and world.chance("stop"):
        worker = world.rng.choice(alive)
        worker.stopped_until = world.clock.now_ms() + world.rng.randrange(1_000, 120_000)
    if world.chance("machine starts"):
        start_machine(world)
    if world.chance("outage"):
        world.server_away_until = world.clock.now_ms() + world.rng.randrange(1_000, 90_000)
    if world.chance("time passes"):
        world.advance(world.rng.choice([10, 200, 1_500, 12_000, 50_000]))
    if world.accepted and world.chance("cancel"):
        people.cancel(world, world.rng.choice(sorted(set(world.accepted.values()))))
    if world.chance("foreign"):
        foreign_job(world)
    if world.chance("decides by guess"):
        people.decide_by_guess(world)
    if world.chance("pause"):
        people.pause_by_chance(world, world.rng.choice([EVERYTHING, *sorted(world.provider.cloud.clusters)]))
    elif world.chance("resume"):
        people.resume_by_chance(world, world.rng.choice([EVERYTHING, *sorted(world.provider.cloud.clusters)]))


def _step_clocks(world: World) -> None:
    """The clocks of the provider and of the Redis server step by themselves, and come back."""
    if world.skew_s and world.clock.now_ms() >= world.skewed_until:
        world.skew_s = 0.0
    elif not world.skew_s and world.chance("clock steps"):
        world.skew_s = world.rng.choice([-120.0, -30.0, -7.0, 7.0, 30.0, 120.0, 3_600.0])
        world.skewed_until = world.clock.now_ms() + world.rng.randrange(5_000, 90_000)
        world.say(f"the provider's clock steps by {world.skew_s:+.0f} s")
    server = world.server_time
    if server.step_ms and world.clock.now_ms() >= server.until:
        server.step_ms = 0
    elif not server.step_ms and world.chance("server clock steps"):
        server.step_ms = 1000 * world.rng.choice([-3_600, -120, -7, 7, 30, 120, 3_600, 90_000])
        server.until = world.clock.now_ms() + world.rng.randrange(5_000, 90_000)
        world.say(f"the Redis server's clock steps by {server.step_ms / 1000:+.0f} s")
    together = abs(server.step_ms - 1000 * world.skew_s) <= MAX_STEP_MS
    # The first workers of an empty ledger have nothing to compare their time with.
    at_first = world.clock.now_ms() - BEGAN_MS < FIRST_MS
    world.clocks_mislead |= server.step_ms != 0 and (together or at_first)


def start_machine(world: World) -> None:
    """Redis and all workers start again, some time later, by a clock that nobody has set yet."""
    for worker in world.workers:
        if worker.alive:
            worker.crash()
    world.advance(world.rng.choice([1_000, 90_000, 600_000]))
    server = world.server_time
    server.step_ms = 1000 * world.rng.choice([-28_800, -3_600, -600, 600, 3_600, 10_800, 90_000])
    server.until = world.clock.now_ms() + world.rng.randrange(5_000, 300_000)
    world.faults["server clock steps"] += 1
    world.say(f"the machine starts again, its clock {server.step_ms / 1000:+.0f} s from the time")


def foreign_job(world: World) -> None:
    """Somebody else changes a cluster: another action, or another number of nodes."""
    clusters = sorted(world.provider.cloud.clusters)
    if not clusters:
        return
    cluster = world.provider.cloud.clusters[world.rng.choice(clusters)]
    if world.provider.cloud._changing(cluster):
        return
    action = world.rng.choice(["HpcClusterAddClusterNodes", "HpcClusterDeleteClusterNodes"])
    job = world.provider.cloud.foreign_job(cluster.cluster_id, cluster.zone, 98, action)
    world.say(f"a foreign {action} on {cluster.cluster_id}: {job.job_id}")
