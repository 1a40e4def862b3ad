"""The simulated world: one virtual clock, several workers, a provider, and what goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from pydantic import SecretStr
from redis.exceptions import RedisError

from config.policy.file import PolicyFile
from config.policy.model import Policy
from config.settings import Settings
from tasks import admin
from tasks.admin import CancelResult
from tasks.contract.policy_file import request_problems
from tasks.ehpc.errors import EhpcError, InDoubt
from tasks.engine.dispatcher import Dispatcher
from tasks.handlers.context import Context
from tasks.intake.accept import Ended, Intake
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.ledger.record_values import State
from tasks.quota.rate_limiter import RateLimiter
from tasks.runtime.clock import HandClock
from tasks.schedules.sync import ScheduleSync
from tests.simulation.invariants import Invariants
from tests.simulation.names import drawn_from
from tests.simulation.people import at_once, pause, paused_scopes, resume
from tests.simulation.provider_model import Provider, Sending, SimulatedApi
from tests.simulation.steps import Crashed, Parked, Process, SteppedRedis

T = TypeVar("T")

MAX_EVENTS = 60_000
MAX_HOURS = 72
SWEEP_REQUEST_S = 10.0
TASKS_AT_ONCE = 8  # of a worker, as its pool has threads


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
    fates: Mapping[str, float] = field(default_factory=dict)


NO_POLICY = Policy()
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
    fates={
        "lost on the way": 0.08,
        "reply lost": 0.12,
        "unclear reply": 0.08,
        "made but busy": 0.05,
        "internal error": 0.05,
        "refused 1400": 0.05,
        "refused 5200": 0.05,
        "refused 1300": 0.02,
        "job fails": 0.05,
    },
)


class WorldClock(HandClock):
    """Moved by the world alone."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def sleep(self, seconds: float) -> None:
        future = self._world.loop.create_future()
        self._world.timers.append((self.now_ms() + round(seconds * 1000), future))
        await future


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
        client = SteppedRedis(self, world.server)
        settings = world.settings
        self.ledger = Ledger(
            client, Keys("scaleout"), world.clock, outcome_ttl_s=604_800, stream_maxlen=1_000
        )
        rate_limiter = RateLimiter(
            client,
            "scaleout",
            world.clock,
            limit=settings.quota_calls,
            window_s=settings.quota_period_s,
            lasting_s=settings.http_timeout_s,
        )
        api = cast("Any", SimulatedApi(self, world.provider))
        policy = PolicyFile(world.policy_file, request_problems, lambda: world.clock.now_ms() / 1000)
        in_force: Callable[[], Policy] = policy if world.policy_file else lambda: world.policy
        self.ctx = Context(
            settings, self.ledger, api, rate_limiter, world.clock, random.Random(world.seed), in_force
        )
        self.schedule_sync = ScheduleSync(self.ctx, policy)
        self.has_kept = world.policy_file is None
        self.intake = Intake(
            self.ledger,
            coalesce_s=settings.coalesce_window_s,
            deadline_s=settings.request_deadline_s,
            policy=in_force,
        )
        self.dispatcher = Dispatcher(self.ctx, self._deliver)

    async def _deliver(self, outcomes: Sequence[tuple[str, dict[str, Any]]]) -> None:
        for task_id, outcome in outcomes:
            await self.turn("deliver")
            self.world.tell(task_id, outcome)
            self.point("after deliver")

    async def take(self, message: Message) -> None:
        """As the Celery task does: acknowledged late, requeued when the ledger cannot be reached."""
        try:
            taken = await self.intake.accept_message(message.task_id, (), message.fields)
        except (RedisError, OSError):
            message.under_way = False
            return
        except Crashed:
            message.under_way = False
            raise
        message.done = True
        if isinstance(taken, Ended):
            self.world.tell(message.task_id, taken.outcome)
        else:
            self.world.accepted[message.task_id] = taken.request_id

    async def tick(self) -> None:
        with suppress(RedisError, OSError):
            if await self.ledger.request_sweep(SWEEP_REQUEST_S) and not self.world.chance("message lost"):
                await self.ledger.sweep_started()
                await self.dispatcher.sweep()
            await self.schedule_sync.sync()
            self.has_kept = True


class World:
    """`plan`: at which points (counted from 1) a process dies, for worlds without chance.

    `checked_every`: in long histories the whole ledger is not read after each event, but after so many.
    """

    def __init__(
        self,
        server: redis.Redis,
        *,
        seed: int = 0,
        chances: Chances = CALM,
        plan: Sequence[int] = (),
        workers: int = 1,
        quota_calls: int = 2000,
        policy: Policy = NO_POLICY,
        policy_file: Path | None = None,
        checked_every: int = 1,
    ) -> None:
        self.server = server
        self.checked_every = checked_every
        self.policy = policy
        self.policy_file = policy_file
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.seed = seed
        self.rng = random.Random(seed)
        self.chances = chances
        self.calm = chances is CALM
        self.plan = list(plan)
        self.points = 0
        self.trace: list[str] = []
        self.parked: list[Parked] = []
        self.timers: list[tuple[int, asyncio.Future[None]]] = []
        self.messages: list[Message] = []
        self.accepted: dict[str, str] = {}
        self.told: dict[str, str] = {}
        self.cancelled_at: dict[str, int] = {}
        self.dirty = False
        self.server_away_until = 0
        self.faults_over = False
        self.faults: Counter[str] = Counter()
        self.ever_held = 0
        self.fates: list[str] = []
        self.happenings: dict[int, Callable[[], None]] = {}
        self.when_idle: list[Callable[[], None]] = []
        self.events = 0
        self.skew_s = 0.0
        self.tasks: set[asyncio.Task[None]] = set()
        self.clock = WorldClock(self)
        self.settings = Settings(
            access_key_id=SecretStr("key"), secret_access_key=SecretStr("secret"), quota_calls=quota_calls
        )
        self.invariants = Invariants(self)
        self.provider = Provider(self, quota_calls=quota_calls, quota_period_s=self.settings.quota_period_s)
        self._scripts: dict[str, str] = {}
        self._born = 0
        self.workers = [self.new_worker() for _ in range(workers)]

    # What the parts of the world ask it.

    def say(self, text: str) -> None:
        at = (self.clock.now_ms() - 1_700_000_000_000) / 1000
        self.trace.append(f"{at:10.3f}  {text}")

    def history(self) -> str:
        lines = self.trace if len(self.trace) < 400 else ["…", *self.trace[-400:]]
        return f"seed {self.seed}, plan {self.plan}\n" + "\n".join(lines)

    def choose(self, among: Sequence[T]) -> T:
        return among[0] if self.calm else self.rng.choice(among)

    def chance(self, what: str) -> bool:
        if self.faults_over:
            return False
        probability: float = getattr(self.chances, what.replace(" ", "_"))
        happens = probability > 0 and self.rng.random() < probability
        if happens:
            self.say(what)
            self.faults[what] += 1
        return happens

    def dies_here(self, label: str) -> bool:
        if self.faults_over:
            return False
        self.points += 1
        if self.plan:
            if self.points == self.plan[0]:
                self.plan.pop(0)
                self.say(f"at point {self.points}: {label}")
                return True
            return False
        return self.chance("crash")

    def fate_of_sending(self) -> str:
        if self.fates:
            return self.fates.pop(0)
        if self.faults_over or not self.chances.fates:
            return "fine"
        fates = self.chances.fates
        left = 1 - sum(fates.values())
        fate = self.rng.choices(["fine", *fates], [left, *fates.values()])[0]
        if fate != "fine":
            self.faults[f"addNodes: {fate}"] += 1
        return fate

    def lost(self) -> int:
        """Requests that were accepted and have no outcome."""
        return sum(
            not self.server.exists(f"scaleout:outcome:{request_id}")
            for request_id in set(self.accepted.values())
        )

    def bought_twice(self) -> int:
        """Operations that made more than one job."""
        jobs = Counter(sending.operation_id for sending in self.provider.sendings if sending.job_id)
        return sum(count > 1 for count in jobs.values())

    def tell(self, task_id: str, outcome: Mapping[str, Any]) -> None:
        status = str(outcome["status"])
        before = self.told.setdefault(task_id, status)
        self.invariants.demand(before == status, f"{task_id} was told {before}, then {status}")

    # What happens from outside.

    def new_worker(self) -> Worker:
        self._born += 1
        worker = Worker(self, f"worker {self._born}")
        self.say(f"{worker.name} starts")
        return worker

    def send(self, request_id: str, **fields: Any) -> None:
        given = {"request_id": request_id, "zone": "jn1a", **fields}
        number = sum(message.task_id.startswith(f"task-{request_id}-") for message in self.messages)
        self.messages.append(Message(f"task-{request_id}-{number}", given))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # How it goes on.

    async def run(self) -> None:
        """Until nothing is left to be done; then faults are over, a person decides, and it is all checked."""
        with drawn_from(self.seed):
            try:
                await self._run()
            except BaseException:
                # What the loop cuts off when it is closed must not wait for a turn that never comes.
                for worker in self.workers:
                    worker.crash()
                raise

    async def _run(self) -> None:
        await self._go_on()
        self.faults_over = True
        self.server_away_until = 0
        for worker in self.workers:
            worker.stopped_until = 0
        for scope in paused_scopes(self):
            self.resume(scope)
        await self._go_on()
        for _ in range(50):
            self.invariants.read()
            held = [
                operation.operation_id
                for operation in self.invariants.operations.values()
                if operation.state is State.HELD
            ]
            if not held:
                break
            self.ever_held += 1
            await self._decide(held[0])
            await self._go_on()
        self.invariants.check_end()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _go_on(self) -> None:
        for _ in range(MAX_EVENTS):
            await self._check()
            self.events += 1
            if self.events in self.happenings:
                self.happenings.pop(self.events)()
                await self._check()
            self._random_faults()
            # What somebody has just begun is to wait for its turn, and not be overlooked.
            await self._quiet()
            happening = self._next()
            if happening is None:
                return
            happening()
        self.invariants.demand(False, f"it does not come to an end within {MAX_EVENTS} events")

    async def _check(self) -> None:
        await self._quiet()
        self.invariants.demand_all_has_held()
        if not self.dirty:
            return
        self.dirty = False
        if self.events % self.checked_every == 0:
            self.invariants.check()
        else:
            self.invariants.look_at_due()

    async def _quiet(self) -> None:
        """Let every coroutine run until it waits for its turn."""
        ready = cast("Any", self.loop)._ready
        # It is the loop itself that is waited for, so that no event could tell.
        while ready:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _random_faults(self) -> None:
        if self.calm or self.faults_over:
            return
        alive = [worker for worker in self.workers if worker.alive]
        if alive and self.chance("stop"):
            worker = self.rng.choice(alive)
            worker.stopped_until = self.clock.now_ms() + self.rng.randrange(1_000, 120_000)
        if self.chance("outage"):
            self.server_away_until = self.clock.now_ms() + self.rng.randrange(1_000, 90_000)
        if self.chance("time passes"):
            self._advance(self.rng.choice([10, 200, 1_500, 12_000, 50_000]))
        if self.accepted and self.chance("cancel"):
            self._cancel(self.rng.choice(sorted(set(self.accepted.values()))))
        if self.chance("foreign"):
            self._foreign()
        if self.chance("pause"):
            self._pause(self.rng.choice([EVERYTHING, *sorted(self.provider.cloud.clusters)]))
        elif self.chance("resume"):
            self._resume(self.rng.choice([EVERYTHING, *sorted(self.provider.cloud.clusters)]))

    def _next(self) -> Callable[[], None] | None:
        self.workers = [worker for worker in self.workers if worker.alive] or [self.new_worker()]
        now = self.clock.now_ms()
        ready: list[Callable[[], None]] = []
        self.parked = [parked for parked in self.parked if not parked.future.done()]
        ready += [_resume(self, parked) for parked in self.parked if parked.process.runs]
        ready += [self._timer(timer) for timer in self.timers if timer[0] <= now]
        ready += [
            self._network(sending)
            for sending in self.provider.sendings
            if not sending.over and sending.arrives_at <= now
        ]
        runs = [worker for worker in self.workers if worker.runs]
        # The broker is the same server: while that is away, no message arrives.
        if runs and self.server_away_until <= now:
            room = TASKS_AT_ONCE * len(runs) - sum(m.under_way and not m.done for m in self.messages)
            waiting = [message for message in self.messages if not message.done and not message.under_way]
            ready += [self._message(message, self.choose(runs)) for message in waiting[: max(0, room)]]
            due = self.invariants.next_due
            is_due = due is not None and due <= now
            ticking = [worker for worker in runs if is_due or not worker.has_kept]
            ready += [self._tick(worker) for worker in ticking if worker.next_tick <= now]
        ready += [
            self._timeout(sending)
            for sending in self.provider.sendings
            if not sending.answer.done() and now > sending.left_at + self.settings.http_timeout_s * 1000
        ]
        if ready:
            return ready[0] if self.calm else self.rng.choice(ready)
        return self.when_idle.pop(0) if self.when_idle else self._wait()

    def _wait(self) -> Callable[[], None] | None:
        """Nothing can be done now: let time pass until something can."""
        now = self.clock.now_ms()
        timeout_ms = round(self.settings.http_timeout_s * 1000)
        occurrences = [at for at, _ in self.timers]
        occurrences += [
            sending.left_at + timeout_ms + 1
            for sending in self.provider.sendings
            if not sending.answer.done()
        ]
        occurrences += [sending.arrives_at for sending in self.provider.sendings if not sending.over]
        occurrences += [worker.stopped_until for worker in self.workers if worker.stopped_until > now]
        occurrences += [worker.next_tick for worker in self.workers if not worker.has_kept]
        occurrences += [self.server_away_until] if self.server_away_until > now else []
        due = self.invariants.next_due
        if due is not None:
            occurrences.append(due)
            occurrences += [worker.next_tick for worker in self.workers if worker.next_tick > now]
        if not occurrences:
            return None
        hours = (now - 1_700_000_000_000) / 3_600_000
        self.invariants.demand(hours < MAX_HOURS, f"it does not come to an end within {MAX_HOURS} h")
        later = [at for at in occurrences if at > now] or [now + 1000]
        return lambda: self._advance(min(later) - now)

    def _advance(self, ms: int) -> None:
        self.clock.advance(ms / 1000)

    def _timer(self, timer: tuple[int, asyncio.Future[None]]) -> Callable[[], None]:
        def fire() -> None:
            self.timers.remove(timer)
            if not timer[1].done():
                timer[1].set_result(None)

        return fire

    def _network(self, sending: Sending) -> Callable[[], None]:
        if sending.arrived:
            return lambda: self.provider.give_answer(sending)

        def arrive() -> None:
            self.provider.arrive(sending)
            self.dirty = True

        return arrive

    def _timeout(self, sending: Sending) -> Callable[[], None]:
        def fire() -> None:
            self.say(f"no reply for {sending.operation_id}")
            if not sending.answer.done():
                sending.answer.set_exception(InDoubt("no reply within 30 s"))

        return fire

    def _message(self, message: Message, worker: Worker) -> Callable[[], None]:
        def deliver() -> None:
            message.under_way = True
            self.say(f"{worker.name} takes {message.task_id}")
            if self.chance("message twice"):
                self.messages.append(Message(message.task_id, message.fields))
            self.start(worker.take(message))

        return deliver

    def _tick(self, worker: Worker) -> Callable[[], None]:
        def tick() -> None:
            worker.next_tick = self.clock.now_ms() + 1000
            self.start(worker.tick())

        return tick

    def _cancel(self, request_id: str) -> None:
        async def cancel() -> None:
            worker = Worker(self, "somebody")
            with suppress(RedisError):
                if await admin.cancel(worker.ledger, request_id, by="somebody") is CancelResult.CANCELLED:
                    self.say(f"{request_id} is cancelled")
                    self.cancelled_at[request_id] = self.clock.now_ms()

        self.start(cancel())

    def _pause(self, scope: str) -> None:
        lasting_s = self.rng.choice([None, 30, 300, 3_600])

        async def by_somebody() -> None:
            with suppress(RedisError):
                await pause(Worker(self, "somebody").ledger, scope, lasting_s)
                self.say(f"{scope} is paused for {lasting_s} s")

        self.start(by_somebody())

    def _resume(self, scope: str) -> None:
        async def by_somebody() -> None:
            with suppress(RedisError):
                self.invariants.stops.forget_failures(scope)
                await resume(Worker(self, "somebody").ledger, scope)
                self.say(f"{scope} is resumed")

        self.start(by_somebody())

    def pause(self, scope: str, lasting_s: float | None = None) -> None:
        """Between two steps, at once."""
        self.say(f"{scope} is paused for {lasting_s} s")
        self.start(pause(at_once(Worker(self, "person")), scope, lasting_s))

    def resume(self, scope: str) -> None:
        self.say(f"{scope} is resumed")
        self.invariants.stops.forget_failures(scope)
        self.start(resume(at_once(Worker(self, "person")), scope))

    def _foreign(self) -> None:
        """Somebody else changes a cluster: another action, or another number of nodes."""
        clusters = sorted(self.provider.cloud.clusters)
        if not clusters:
            return
        cluster_id = self.rng.choice(clusters)
        if self.provider.cloud._changing(self.provider.cloud.clusters[cluster_id]):
            return
        action = self.rng.choice(["HpcClusterAddClusterNodes", "HpcClusterDeleteClusterNodes"])
        job = self.provider.cloud.foreign_job(cluster_id, "jn1a", 98, action)
        self.say(f"a stranger's {action} on {cluster_id}: {job.job_id}")

    async def _decide(self, operation_id: str) -> None:
        """A person who knows the truth, as far as the provider's console tells it."""
        done = asyncio.Event()

        async def decide() -> None:
            ledger = Worker(self, "person").ledger
            jobs = self.provider.jobs_of(operation_id)
            adopted = jobs[0] if jobs else None
            await admin.resolve(ledger, operation_id, adopt_job=adopted, by="person", reason=None)
            self.say(f"a person decides on {operation_id}: {jobs or 'never happened'}")
            done.set()

        self.start(decide())
        await self._go_on()
        assert done.is_set()


def _resume(world: World, parked: Parked) -> Callable[[], None]:
    def go_on() -> None:
        world.parked.remove(parked)
        world.say(f"{parked.process.name}: {parked.label}")
        if not parked.future.done():
            parked.future.set_result(None)

    return go_on


__all__ = ["CALM", "WILD", "Chances", "EhpcError", "World"]
