"""A worker of the simulated world, with the real ledger, intake and dispatcher."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

from config.policy.file import PolicyFile
from config.policy.model import Policy
from tasks.contract.policy_file import request_problems
from tasks.engine.dispatcher import Dispatcher
from tasks.handlers.context import Context
from tasks.handlers.publish_outcomes import TaskEnd
from tasks.handlers.publish_progress import TaskStatus
from tasks.handlers.scrub_ledger import Pace, Scrub
from tasks.intake.accept import Accepted, Intake
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import RateLimiter
from tasks.runtime.clock import MAX_STEP_MS
from tasks.schedules.sync import ScheduleSync
from tests.simulation.provider_model import SimulatedApi
from tests.simulation.server_time import CLOCK_KEY, ProcessClock
from tests.simulation.steps import Crashed, Process, SteppedRedis

if TYPE_CHECKING:
    from tests.simulation.world import World

SWEEP_REQUEST_S = 10.0
SCRUB_EVERY = 10  # ticks
IDLE_TICK_MS = 600_000  # real ones tick all the time, which would take too long here
TASKS_AT_ONCE = 8  # of a worker, as its pool has threads


@dataclass(eq=False)
class Message:
    """A Celery message of the task scaleout.add_nodes."""

    task_id: str
    fields: dict[str, Any]
    under_way: bool = False
    done: bool = False


class Worker(Process):
    """One worker process with the real state machine."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        client = SteppedRedis(self, world.direct)
        settings = world.settings
        self.clock = ProcessClock(world)
        self.ledger = Ledger(client, Keys("scaleout"), self.clock, outcome_ttl_s=604_800, stream_maxlen=1_000)
        rate_limiter = RateLimiter(
            client,
            "scaleout",
            self.clock,
            limit=settings.quota_calls,
            window_s=settings.quota_period_s,
            lasting_s=settings.http_timeout_s,
        )
        api = cast("Any", SimulatedApi(self, world.provider))
        policy = PolicyFile(world.policy_file, request_problems, lambda: world.clock.now_ms() / 1000)
        in_force: Callable[[], Policy] = policy if world.policy_file else lambda: world.policy
        self.ctx = Context(
            settings, self.ledger, api, rate_limiter, self.clock, random.Random(world.seed), in_force
        )
        self.schedule_sync = ScheduleSync(self.ctx, policy)
        self.has_kept = world.policy_file is None
        self.intake = Intake(
            self.ledger,
            coalesce_s=settings.coalesce_window_s,
            deadline_s=settings.request_deadline_s,
            policy=in_force,
        )
        self.dispatcher = Dispatcher(self.ctx, self)
        self.scrub = Scrub(self.ctx, Pace(5_000, 0, 5_000))
        self.ticks = 0
        self.knows_time = False
        self.next_idle_tick = world.clock.now_ms() + IDLE_TICK_MS

    @property
    def ahead_ms(self) -> int:
        """How far its clock is ahead of the world's, which it may have learned from a wrong server."""
        return max(0, self.clock.now_ms() - self.world.clock.now_ms()) if self.knows_time else 0

    async def begin(self) -> None:
        """As each process does before its first use of the ledger."""
        if not self.knows_time:
            self.world.server_time.note_workers_time()
            await self.ledger.learn_time()
            self.knows_time = True

    async def resolve(self, ends: Sequence[TaskEnd]) -> None:
        for end in ends:
            await self.turn("deliver")
            self.world.publish(end.caller.task_id, end.outcome)
            self.point("after deliver")

    async def call_back(self, end: TaskEnd) -> None:
        """Nobody links anything to a task here."""

    async def tell(self, told: Sequence[TaskStatus]) -> None:
        """Nobody's state is stored here."""

    async def take(self, message: Message) -> None:
        """As the Celery task does: acknowledged late, requeued when the ledger cannot be reached."""
        taken_at = self.world.clock.now_ms()
        try:
            await self.begin()
            taken = await self.intake.accept_message(message.task_id, (), message.fields)
        except (RedisError, OSError):
            message.under_way = False
            return
        except Crashed:
            message.under_way = False
            raise
        message.done = True
        if isinstance(taken, Accepted):
            self.world.accepted[message.task_id] = taken.request_id
            # By a clock that is behind, its deadline would be too early from the first. Before the first tick
            # of any worker, nothing shows that a clock has stepped since.
            is_right = self.clock.now_ms() >= self.world.clock.now_ms() - MAX_STEP_MS
            if taken.new and is_right and self.world.server.exists(CLOCK_KEY):
                self.world.accepted_at.setdefault(taken.request_id, taken_at)

    async def tick(self) -> None:
        with suppress(RedisError, OSError):
            await self.begin()
            requested = await self.ledger.tick(SWEEP_REQUEST_S, self.name)
            if requested and not self.world.chance("message lost"):
                await self.ledger.sweep_started()
                await self.dispatcher.sweep()
            self.ticks += 1
            if self.ticks % SCRUB_EVERY == 0:
                await self.scrub.step()
            await self.schedule_sync.sync()
            self.has_kept = True
