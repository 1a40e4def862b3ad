"""The Redis server's clock in the simulated world: it steps by itself, and workers follow it or do not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tasks.ledger
from tasks.runtime.clock import ServerClock

if TYPE_CHECKING:
    from tests.simulation.world import World

CLOCK_KEY = "scaleout:clock"
SCRIPT = Path(tasks.ledger.__file__).parent / "lua" / "request_sweep.lua"
REQUEST_SWEEP = hashlib.sha1(SCRIPT.read_bytes(), usedforsecurity=False).hexdigest()


class ServerTime:
    """What the server says that the time is. `step_ms`: how far it is from the truth."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.step_ms = 0
        self.until = 0

    def now_ms(self) -> int:
        return self._world.clock.now_ms() + self.step_ms

    def note_workers_time(self) -> None:
        """Note a running worker's time beside the server's, as its ticks do every few seconds."""
        knows = [worker for worker in self._world.workers if worker.runs and worker.knows_time]
        if knows and self._world.server_away_until <= self._world.clock.now_ms():
            noted = f"{knows[0].clock.now_ms()} {self.now_ms()} {int(knows[0].ledger.time_is_proven)}"
            self._world.direct.run("SET", CLOCK_KEY, noted)

    def in_reply(self, args: tuple[Any, ...], reply: Any) -> Any:
        """Return a reply with this time in it: the real server has another one."""
        now = self.now_ms()
        if args[0] == "TIME":
            return now // 1000, now % 1000 * 1000
        if args[0] == "EVALSHA" and args[1] == REQUEST_SWEEP:
            reply[1] = now
            ticked = self._world.direct.run("GET", CLOCK_KEY)
            if ticked is not None:
                worker_ms, _, is_proven = str(ticked).split()
                self._world.direct.run("SET", CLOCK_KEY, f"{worker_ms} {now} {is_proven}")
        return reply


class ProcessClock(ServerClock):
    """The clock of one process. Time passes for it as it does for the world."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda: float(world.clock.now_ms()))
        self._world = world

    async def sleep(self, seconds: float) -> None:
        await self._world.clock.sleep(seconds)
