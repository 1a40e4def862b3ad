"""What workers do about pauses: park what is planned, lift what is over, and log what people have done."""

from __future__ import annotations

from tasks.handlers.context import Machinery
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.due import Due, DueKind
from tasks.ledger.snapshots import Scene
from tasks.state_machine import pauses


async def parked_while_paused(m: Machinery, scene: Scene) -> bool:
    """Whether a pause is in force; then the planned operation rests until it ends.

    If the pause is lifted just now, nothing is parked and the operation's lease brings it up again.
    """
    pause = scene.pauses.in_force(m.clock.now_ms())
    if pause is None:
        return False
    due = Due(DueKind.SUBMISSION, scene.operation.operation_id)
    return await m.commit(pauses.park(due, scene.pauses, pause, scene.operation)) is Committed.OK


async def look_at_pause(m: Machinery, scope: str) -> None:
    """The due entry of a pause: it was made or lifted, or its time is over."""

    async def build() -> Changes:
        return pauses.look_at(await m.ledger.pause(scope), m.clock.now_ms())

    await m.commit_current(build)
