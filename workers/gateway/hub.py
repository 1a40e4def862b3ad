"""Follows the ledger's streams once for all who listen, and keeps the last events for those who come back."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tasks.contract.outcome import LATE_NODES
from tasks.ledger.ledger import Ledger
from tasks.views.read_status import read_documents

log = structlog.get_logger(__name__)

STATUS = "status"
KEPT = 2_000
READ_AT_ONCE = 200
BLOCK_MS = 1_000
LISTENING_S = 3_600
RENEW_S = 60
RETRY_S = 1.0
GATHER_S = 0.02  # what comes meanwhile is read together: a busy ledger changes hundreds of times a second
Entry = tuple[str, dict[str, str]]
POSITION = re.compile(r"^(\d{1,16}-\d{1,10})_(\d{1,16}-\d{1,10})$")


@dataclass(frozen=True, slots=True)
class Position:
    """How far somebody has read: the last entry of the outcomes' stream, and of the changes' one."""

    outcomes: str
    changes: str

    @classmethod
    def of(cls, text: str) -> "Position | None":
        """Return the position that an event's id names; None if it is none."""
        match = POSITION.match(text)
        return None if match is None else cls(match.group(1), match.group(2))

    def __str__(self) -> str:
        return f"{self.outcomes}_{self.changes}"


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: `status` or `outcome`, or `late_nodes`; `data`: empty if nobody streamed when it came."""

    kind: str
    request_id: str
    cluster_id: str | None
    data: str
    position: Position


class Hub:
    """Call `begin` and `run` once; `since` and `changed` serve any number of listeners.

    Args:
        reading: a client of its own, for commands that block.
    """

    def __init__(self, ledger: Ledger, reading: Redis) -> None:
        self._ledger = ledger
        self._reading: Any = reading
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._changed = asyncio.Event()
        self._streams = 0
        self._documents: dict[tuple[str, int], asyncio.Task[dict[str, Any] | None]] = {}
        self.position = Position("0-0", "0-0")

    async def run(self) -> None:
        """Follow both streams until cancelled. An outage is waited for, and nothing is left out after it."""
        now = asyncio.get_running_loop().time
        reachable, renewed_at = True, now()
        while True:
            try:
                if not reachable or now() - renewed_at > RENEW_S:
                    await self._listen()
                    renewed_at = now()
                await self.read()
                reachable = True
                await asyncio.sleep(GATHER_S)
            except (RedisError, OSError) as error:
                if reachable:
                    log.warning("stream_unreachable", kind=type(error).__name__, detail=str(error))
                reachable = False
                await asyncio.sleep(RETRY_S)

    async def begin(self) -> None:
        """Listen from here on: who streams before would miss what comes meanwhile."""
        await self._listen()
        keys = self._ledger.keys
        self.position = Position(await self._last(keys.outcomes), await self._last(keys.changes))

    @property
    def number(self) -> int:
        """How many events there were so far."""
        return self._number

    def since(self, number: int) -> Sequence[Event] | None:
        """Return the events after the first `number`; None if some of them are not kept any more."""
        new = self._number - number
        return None if new > len(self._events) else [self._events[place] for place in range(-new, 0)]

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Have events made ready for streams meanwhile: waits only need to know that there are some."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def filled(self, event: Event) -> Event | None:
        """Return an event with its data; None if there is nothing to tell any more."""
        if event.data:
            return event
        if event.kind == STATUS:
            found = await self._statuses([event.request_id], event.position)
            return found[0] if found else None
        outcome = await self._ledger.current_outcome(event.request_id)
        if outcome is None:
            return None
        return replace(event, cluster_id=outcome["cluster_id"], data=_text(outcome))

    async def document(self, name: str) -> dict[str, Any] | None:
        """Return the status document of a request as it is now or later."""
        request = await self._ledger.request(name)
        return None if request is None else (await read_documents(self._ledger, [request]))[0]

    async def shared_document(self, name: str) -> dict[str, Any] | None:
        """Return a status document that is read once for all who ask until the next event.

        It is as it was after the last event, or later: who waits for the next one misses nothing.
        """
        key = (name, self._number)
        reading = self._documents.get(key)
        if reading is None:
            reading = asyncio.create_task(self.document(name))
            self._documents[key] = reading
            reading.add_done_callback(lambda _: self._documents.pop(key, None))
        return await asyncio.shield(reading)

    def wake(self) -> None:
        """Let all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, timeout_s: float) -> None:
        """Wait for an event, at most `timeout_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def missed(self, after: Position, until: Position) -> AsyncIterator[Event]:
        """Yield what came after one position until another; each request's status comes once."""
        keys = self._ledger.keys
        async for page in self._pages(keys.outcomes, after.outcomes, until.outcomes):
            for entry, fields in page:
                yield self._outcome(fields, Position(entry, after.changes))
        names: list[str] = []
        async for page in self._pages(keys.changes, after.changes, until.changes):
            names += [fields["request_id"] for _, fields in page if "request_id" in fields]
        if await self._is_gone(after.changes):
            # What changed in between is not known any more: tell the state of all that is open.
            names += [request.request_id async for request in self._ledger.overview.open_records()]
        for first in range(0, len(names := list(dict.fromkeys(names))), READ_AT_ONCE):
            told = Position(until.outcomes, after.changes)
            for event in await self._statuses(names[first : first + READ_AT_ONCE], told):
                yield event

    async def _listen(self) -> None:
        """Have workers write what changes, for as long as somebody listens."""
        changes = self._ledger.keys.changes
        if not await self._ledger.redis.exists(changes):
            await self._ledger.redis.xadd(changes, {"started": "1"})
        await self._ledger.redis.expire(changes, LISTENING_S)

    async def _last(self, stream: str) -> str:
        newest = await self._reading.xrevrange(stream, count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def read(self) -> None:
        """Read what has come, and wait for something if nothing has."""
        keys, here = self._ledger.keys, self.position
        streams = {keys.outcomes: here.outcomes, keys.changes: here.changes}
        found = dict(await self._reading.xread(streams, count=READ_AT_ONCE, block=BLOCK_MS) or ())
        outcomes, changes = found.get(keys.outcomes, []), found.get(keys.changes, [])
        if not outcomes and not changes:
            return
        position = Position(
            outcomes[-1][0] if outcomes else here.outcomes, changes[-1][0] if changes else here.changes
        )
        names = [fields["request_id"] for _, fields in changes if "request_id" in fields]
        # Statuses first: an outcome is the last that is told of a request. A client cut off in between
        # has read up to here, and is told of all of it again; only the last event says that it was all.
        if self._streams:
            events = await self._statuses(names, here)
            events += [self._outcome(fields, here) for _, fields in outcomes]
        else:
            events = [Event(STATUS, name, None, "", here) for name in dict.fromkeys(names)]
            events += [Event(_kind(fields), fields["request_id"], None, "", here) for _, fields in outcomes]
        if events:
            events[-1] = replace(events[-1], position=position)
        self.position = position
        self._events.extend(events)
        self._number += len(events)
        self.wake()

    async def _statuses(self, names: Sequence[str], position: Position) -> list[Event]:
        requests = await self._ledger.requests(dict.fromkeys(names), readable_only=True)
        waiting = [request for request in requests.values() if not request.ended]
        return [
            Event(STATUS, document["request_id"], document["cluster_id"], _text(document), position)
            for document in await read_documents(self._ledger, waiting)
        ]

    def _outcome(self, fields: dict[str, str], position: Position) -> Event:
        outcome = json.loads(fields["outcome"])
        return Event(_kind(fields), fields["request_id"], outcome.get("cluster_id"), _text(outcome), position)

    async def _pages(self, stream: str, after: str, until: str) -> AsyncIterator[list[Entry]]:
        redis: Any = self._ledger.redis
        while page := await redis.xrange(stream, f"({after}", until, count=READ_AT_ONCE):
            yield page
            after = page[-1][0]

    async def _is_gone(self, after: str) -> bool:
        """Return whether changes after this entry may have been dropped."""
        redis: Any = self._ledger.redis
        oldest = await redis.xrange(self._ledger.keys.changes, count=1)
        return not oldest or _order(oldest[0][0]) > _order(after)


def _kind(fields: dict[str, str]) -> str:
    return LATE_NODES if fields.get("status") == LATE_NODES else "outcome"


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
