"""The simulated world: one virtual clock, a schedule of events, and the run of a history."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from pydantic import SecretStr

from config.policy.model import Policy
from config.settings import Settings
from tasks.ehpc.errors import InDoubt
from tasks.ledger.record_values import State
from tasks.runtime.clock import HandClock
from tests.simulation import people
from tests.simulation.faults import CALM, Chances, random_faults
from tests.simulation.invariants import Invariants
from tests.simulation.names import drawn_from
from tests.simulation.provider_model import Provider, Sending
from tests.simulation.quirks import Quirks
from tests.simulation.server_time import ServerTime
from tests.simulation.status_check import StatusCheck
from tests.simulation.steps import Direct, Parked
from tests.simulation.worker import IDLE_TICK_MS, TASKS_AT_ONCE, Message, Worker

T = TypeVar("T")

MAX_EVENTS = 60_000
MAX_HOURS = 72


NO_POLICY = Policy()


class WorldClock(HandClock):
    """Moved by the world alone."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def sleep(self, seconds: float) -> None:
        future = self._world.loop.create_future()
        self._world.timers.append((self.now_ms() + round(seconds * 1000), future))
        await future


class World:
    """`plan`: at which points (counted from 1) a process dies, for worlds without chance.

    `checked_every`: in long histories the whole ledger is read only after this number of events.
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
        quirks: Quirks | None = None,
    ) -> None:
        self.server = server
        self.direct = Direct(server)
        self.server_time = ServerTime(self)
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
        self.accepted_at: dict[str, int] = {}
        self.clocks_mislead = False
        self.published: dict[str, str] = {}
        self.cancelled_at: dict[str, int] = {}
        self.dirty = False
        self.server_away_until = 0
        self.faults_over = False
        self.faults: Counter[str] = Counter()
        self.ever_held = 0
        self.call_outcomes: list[str] = []
        self.refusal_message = "refused by chance, resource is in transition"
        self.happenings: dict[int, Callable[[], None]] = {}
        self.when_idle: list[Callable[[], None]] = []
        self.events = 0
        self.skew_s = 0.0
        self.skewed_until = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.clock = WorldClock(self)
        self.settings = Settings(
            access_key_id=SecretStr("key"), secret_access_key=SecretStr("secret"), quota_calls=quota_calls
        )
        self.invariants = Invariants(self)
        self.status_check = StatusCheck(self)
        self.provider = Provider(self, quota_calls=quota_calls, quota_period_s=self.settings.quota_period_s)
        self.provider.quirks = quirks or self.provider.quirks
        self._scripts: dict[str, str] = {}
        self._born = 0
        self.workers = [self.new_worker() for _ in range(workers)]

    # What the parts of the world ask it.

    def say(self, text: str) -> None:
        at = (self.clock.now_ms() - 1_700_000_000_000) / 1000
        self.trace.append(f"{at:10.3f}  {text}")

    def history(self) -> str:
        lines = self.trace if len(self.trace) < 4_000 else ["…", *self.trace[-4_000:]]
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
        if self.call_outcomes:
            return self.call_outcomes.pop(0)
        if self.faults_over or not self.chances.call_outcomes:
            return "fine"
        call_outcomes = self.chances.call_outcomes
        left = 1 - sum(call_outcomes.values())
        call_outcome = self.rng.choices(["fine", *call_outcomes], [left, *call_outcomes.values()])[0]
        if call_outcome != "fine":
            self.faults[f"addNodes: {call_outcome}"] += 1
        return call_outcome

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

    def publish(self, task_id: str, outcome: Mapping[str, Any]) -> None:
        status = str(outcome["status"])
        before = self.published.setdefault(task_id, status)
        self.invariants.demand(before == status, f"{task_id} was published as {before}, then {status}")

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

    async def decide(self, operation_id: str) -> None:
        await people.decide(self, operation_id)

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
            finally:
                self.direct.close()

    async def _run(self) -> None:
        await self.continue_until_idle()
        self.faults_over = True
        self.server_away_until = 0
        self.skew_s = 0.0
        self.server_time.step_ms = 0
        for worker in self.workers:
            worker.stopped_until = 0
        for scope in people.paused_scopes(self):
            people.resume(self, scope)
        await self.continue_until_idle()
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
            await self.decide(held[0])
            await self.continue_until_idle()
        self.invariants.check_end()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def continue_until_idle(self) -> None:
        for _ in range(MAX_EVENTS):
            await self._check()
            self.events += 1
            if self.events in self.happenings:
                self.happenings.pop(self.events)()
                await self._check()
            random_faults(self)
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
            await self.status_check.look()
        else:
            self.invariants.look_at_due()

    async def _quiet(self) -> None:
        """Let every coroutine run until it waits for its turn."""
        ready = cast("Any", self.loop)._ready
        # It is the loop itself that is waited for, so that no event could tell.
        while ready:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _next(self) -> Callable[[], None] | None:
        self.workers = [worker for worker in self.workers if worker.alive] or [self.new_worker()]
        now = self.clock.now_ms()
        ready: list[Callable[[], None]] = []
        self.parked = [parked for parked in self.parked if not parked.future.done()]
        ready += [_continue(self, parked) for parked in self.parked if parked.process.runs]
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
            ticking = [worker for worker in runs if self._finds_due(worker) or not worker.has_kept]
            ready += [self._tick(worker) for worker in ticking if worker.next_tick <= now]
        ready += [
            self._timeout(sending)
            for sending in self.provider.sendings
            if not sending.answer.done() and now > sending.left_at + self.settings.http_timeout_s * 1000
        ]
        if ready:
            return ready[0] if self.calm else self.rng.choice(ready)
        return self.when_idle.pop(0) if self.when_idle else self._wait()

    def _finds_due(self, worker: Worker) -> bool:
        """Return whether the ledger's first entry is due by the worker's clock, or its next idle tick is."""
        due = self.invariants.next_due
        if due is None:
            return False
        return min(due - worker.ahead_ms, worker.next_idle_tick) <= self.clock.now_ms()

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
            occurrences += [due - worker.ahead_ms for worker in self.workers]
            occurrences += [worker.next_tick for worker in self.workers if worker.next_tick > now]
            occurrences += [worker.next_idle_tick for worker in self.workers if worker.runs]
        if not occurrences:
            return None
        hours = (now - 1_700_000_000_000) / 3_600_000
        self.invariants.demand(hours < MAX_HOURS, f"it does not come to an end within {MAX_HOURS} h")
        later = [at for at in occurrences if at > now] or [now + 1000]
        return lambda: self.advance(min(later) - now)

    def advance(self, ms: int) -> None:
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
            worker.next_idle_tick = self.clock.now_ms() + IDLE_TICK_MS
            self.start(worker.tick())

        return tick


def _continue(world: World, parked: Parked) -> Callable[[], None]:
    def go_on() -> None:
        world.parked.remove(parked)
        world.say(f"{parked.process.name}: {parked.label}")
        if not parked.future.done():
            parked.future.set_result(None)

    return go_on
