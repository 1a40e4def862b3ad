"""People in the simulated world: they pause, resume, cancel, and decide held operations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from tasks import admin
from tasks.admin import CancelResult
from tasks.handlers.check_decision import check_absence, check_adoption
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.state_machine.resolution import DECIDABLE, CannotResolve
from tests.simulation.steps import WRITES
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")


def at_once(worker: Worker) -> Ledger:
    """The ledger of somebody whose commands are carried out where they are given, with no turn between."""

    async def io(label: str, effect: Callable[[], T], *, again: bool = False) -> T:
        result = effect()
        worker.world.dirty = worker.world.dirty or label in WRITES
        return result

    worker.io = io  # type: ignore[method-assign]
    return worker.ledger


async def _pause(ledger: Ledger, scope: str, lasting_s: float | None) -> None:
    await ledger.learn_time()
    await admin.pause(ledger, _cluster_of(scope), by="somebody", reason="by chance", lasting_s=lasting_s)


async def _resume(ledger: Ledger, scope: str) -> None:
    await ledger.learn_time()
    await admin.resume(ledger, _cluster_of(scope), by="somebody")


def _cluster_of(scope: str) -> str | None:
    return None if scope == EVERYTHING else scope


def cancel(world: World, request_id: str) -> None:
    async def by_somebody() -> None:
        worker = Worker(world, "somebody")
        with suppress(RedisError):
            await worker.begin()
            if await admin.cancel(worker.ledger, request_id, by="somebody") is CancelResult.CANCELLED:
                world.say(f"{request_id} is cancelled")
                world.cancelled_at[request_id] = world.clock.now_ms()

    world.start(by_somebody())


def pause_by_chance(world: World, scope: str) -> None:
    lasting_s = world.rng.choice([None, 30, 300, 3_600])

    async def by_somebody() -> None:
        with suppress(RedisError):
            await _pause(Worker(world, "somebody").ledger, scope, lasting_s)
            world.say(f"{scope} is paused for {lasting_s} s")

    world.start(by_somebody())


def resume_by_chance(world: World, scope: str) -> None:
    async def by_somebody() -> None:
        with suppress(RedisError):
            world.invariants.blockers.forget_failures(scope)
            await _resume(Worker(world, "somebody").ledger, scope)
            world.say(f"{scope} is resumed")

    world.start(by_somebody())


def pause(world: World, scope: str, lasting_s: float | None = None) -> None:
    """Between two steps, at once."""
    world.say(f"{scope} is paused for {lasting_s} s")
    world.start(_pause(at_once(Worker(world, "person")), scope, lasting_s))


def resume(world: World, scope: str) -> None:
    """Between two steps, at once."""
    world.say(f"{scope} is resumed")
    world.invariants.blockers.forget_failures(scope)
    world.start(_resume(at_once(Worker(world, "person")), scope))


async def decide(world: World, operation_id: str) -> None:
    """A person who knows the truth, as far as the provider's console tells it."""
    done = asyncio.Event()

    async def by_person() -> None:
        ledger = Worker(world, "person").ledger
        await ledger.learn_time()
        jobs = world.provider.jobs_of(operation_id)
        adopted = jobs[0] if jobs else None
        await admin.resolve(ledger, operation_id, adopt_job=adopted, by="person", reason=None)
        world.say(f"a person decides on {operation_id}: {jobs or 'not executed'}")
        done.set()

    world.start(by_person())
    await world.continue_until_idle()
    assert done.is_set()


def decide_by_guess(world: World) -> None:
    """A person who does not know the truth. What the log contradicts is not done."""
    open_ones = [name for name, of in sorted(world.invariants.operations.items()) if of.state in DECIDABLE]
    if not open_ones:
        return
    operation_id = world.rng.choice(open_ones)
    job_id = world.rng.choice([None, "j-nothere", *sorted(world.provider.cloud.jobs)])

    async def by_guess() -> None:
        worker = Worker(world, "guesser")
        with suppress(RedisError, CannotResolve):
            await worker.begin()
            operation = await worker.ledger.operation(operation_id)
            if operation is None or operation.state not in DECIDABLE:
                return
            if job_id is None:
                objections = await check_absence(worker.ctx, operation)
            else:
                objections = await check_adoption(worker.ctx, operation, job_id)
            said = "; ".join(one.text for one in objections) or "done"
            world.say(f"a guess: {operation_id} is {job_id or 'not executed'}: {said}")
            if not objections:
                await admin.resolve(worker.ledger, operation_id, adopt_job=job_id, by="guess", reason=None)

    world.start(by_guess())


def paused_scopes(world: World) -> list[str]:
    """Return those of the ledger: the process that paused may not live to know it."""
    keys = sorted(map(str, world.server.keys("scaleout:pause:*")))
    contents = (json.loads(world.server.hget(key, "content") or "{}") for key in keys)
    return [content["scope"] for content in contents if content.get("paused")]
