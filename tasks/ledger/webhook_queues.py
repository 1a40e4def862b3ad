"""What every webhook is to be told of, in order for each subject, until it is delivered. Times in ms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from tasks.ledger.due import NOTICES, Due, DueKind
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.ledger.notices import Notice
from tasks.ledger.reads import LUA
from tasks.ledger.record_values import Value
from tasks.runtime.redis_client import Script

MAX_SUBJECTS = 100_000
KEPT_MS = 7 * 86_400_000
MAX_FAILURES = 100
NOTICES_AT_ONCE = 100


class Delivery(Value):
    """One thing that one webhook is told.

    Fields:
        message_id: the header `webhook-id`.
        noted_at: when it happened.
        attempts: how often it was tried; `tried_at`: when last, 0 for never.
    """

    message_id: str
    kind: str
    subject: str
    body: str
    noted_at: int
    attempts: int = 0
    tried_at: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an attempt.

    Fields:
        becomes: the delivery if it is tried again, at `next_at`.
        counts: `delivered` or `given_up` if it is over.
        problem: what went wrong.
        not_before: nothing is delivered to this webhook until then.
        disabled: why it is told of nothing more.
    """

    becomes: Delivery | None
    next_at: int
    counts: str = ""
    problem: str = ""
    not_before: int = 0
    disabled: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted of an attempt.

    Fields:
        failures: in a row; -1 if another worker has noted it first.
        disabled: why the webhook is told of nothing more; empty if it is. `now_disabled`: by this attempt.
    """

    failures: int
    disabled: str
    now_disabled: bool


@dataclass(frozen=True, slots=True)
class WebhookState:
    """How a webhook fares. `about`: what is in force of it; `next_at`: when it is told next."""

    name: str
    about: dict[str, Any]
    pending: int
    next_at: int | None
    counts: dict[str, str] = field(default_factory=dict)

    def number(self, name: str) -> int | None:
        return int(self.counts[name]) if name in self.counts else None

    @property
    def disabled(self) -> str | None:
        return self.counts.get("disabled_reason")


def due_of(name: str) -> Due:
    return Due(DueKind.WEBHOOK, name)


class WebhookQueues:
    """Every method is one step that may be sent twice."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._redis: Any = ledger.redis
        self._keys: Keys = ledger.keys
        self._fan_out = Script(ledger.redis, LUA / "webhook_fan_out.lua")
        self._settle = Script(ledger.redis, LUA / "webhook_settle.lua")
        self._due = Script(ledger.redis, LUA / "webhook_due.lua")

    async def in_force(self) -> dict[str, dict[str, Any]]:
        """Return what workers have written of each webhook, by name."""
        found = await self._redis.hgetall(self._keys.webhooks)
        return {str(name): json.loads(about) for name, about in found.items()}

    async def put(self, name: str, about: dict[str, Any]) -> None:
        await self._redis.hset(self._keys.webhooks, name, json.dumps(about, sort_keys=True))

    async def remove(self, name: str) -> None:
        """Tell it of nothing more; what was not delivered is forgotten after a week."""
        await self._redis.hdel(self._keys.webhooks, name)

    async def notices(self) -> list[tuple[str, Notice | None]]:
        """Return the next notices, each with its text; None for one that this version cannot read."""
        texts = await self._redis.lrange(self._keys.notices, 0, NOTICES_AT_ONCE - 1)
        return [(str(text), _parsed(str(text))) for text in texts]

    async def hand_out(self, text: str, deliveries: Sequence[tuple[str, Delivery]]) -> int:
        """Move a notice to the queues of webhooks.

        Args:
            text: as `notices` has returned it; empty for deliveries that have no notice.
            deliveries: webhooks, each with what it is told.
        """
        keys = [self._keys.notices, self._keys.due(NOTICES.lane)]
        args: list[Any] = [text, self._ledger.clock.now_ms(), MAX_SUBJECTS, KEPT_MS]
        for name, delivery in deliveries:
            keys += [self._keys.deliveries(name), self._keys.deliveries_about(name, delivery.subject)]
            keys += [self._keys.webhook(name)]
            args += [delivery.subject, delivery.model_dump_json(), str(due_of(name))]
        return int(await self._fan_out(keys, args))

    async def next_due(self, name: str, limit: int) -> list[tuple[str, str, Delivery | None]]:
        """Return each subject that is due, and its first delivery: text, and content if that is readable."""
        now = self._ledger.clock.now_ms()
        found = await self._redis.zrange(
            self._keys.deliveries(name), "-inf", now, byscore=True, offset=0, num=limit
        )
        async with self._redis.pipeline(transaction=False) as pipe:
            for subject in found:
                pipe.lindex(self._keys.deliveries_about(name, subject), 0)
            texts = await pipe.execute() if found else []
        gone = [subject for subject, text in zip(found, texts, strict=True) if text is None]
        if gone:
            await self._redis.zrem(self._keys.deliveries(name), *gone)
        read = [(str(name), str(text)) for name, text in zip(found, texts, strict=True) if text is not None]
        return [(subject, text, _delivery(text)) for subject, text in read]

    async def settle(self, name: str, text: str, subject: str, became: Settled) -> Noted:
        """Note what became of an attempt."""
        keys = [self._keys.deliveries(name), self._keys.deliveries_about(name, subject)]
        keys += [self._keys.webhook(name)]
        becomes = "" if became.becomes is None else became.becomes.model_dump_json()
        args = [text, subject, becomes, became.next_at, self._ledger.clock.now_ms(), became.counts]
        args += [became.problem, became.not_before, became.disabled, MAX_FAILURES]
        failures, disabled, now_disabled = await self._settle(keys, args)
        return Noted(int(failures), str(disabled), bool(now_disabled))

    async def schedule(self, name: str, not_before: int = 0) -> None:
        """Have the webhook's next delivery made when it is due, if there is one."""
        due = due_of(name)
        keys = [self._keys.due(due.lane), self._keys.deliveries(name), self._keys.webhook(name)]
        await self._due(keys, [str(due), not_before])

    async def schedule_notices(self, at: int | None) -> None:
        """Have notices handed out at `at`; None if there are none left."""
        key = self._keys.due(NOTICES.lane)
        if at is None:
            if not await self._redis.exists(self._keys.notices):
                await self._redis.zrem(key, str(NOTICES))
            # One that was added just now makes it due again itself, or is found here.
            if not await self._redis.exists(self._keys.notices):
                return
            at = self._ledger.clock.now_ms()
        await self._redis.zadd(key, {str(NOTICES): at})

    async def forget_notices(self) -> None:
        """Drop notices that no webhook is there for."""
        await self._redis.delete(self._keys.notices)

    async def enable(self, name: str) -> None:
        """Try again what is pending, now."""
        await self._redis.hdel(
            self._keys.webhook(name), "disabled_at", "disabled_reason", "failures", "not_before"
        )
        await self.schedule(name)

    async def attempts(self, name: str, subject: str) -> int | None:
        """Return how often the first delivery about a subject was tried; None if there is none."""
        text = await self._redis.lindex(self._keys.deliveries_about(name, subject), 0)
        delivery = None if text is None else _delivery(str(text))
        return None if delivery is None else delivery.attempts

    async def forget(self, name: str, subject: str) -> None:
        """Tell the webhook nothing more about a subject."""
        await self._redis.delete(self._keys.deliveries_about(name, subject))
        await self._redis.zrem(self._keys.deliveries(name), subject)

    async def state(self, name: str, about: dict[str, Any]) -> WebhookState:
        counts = await self._redis.hgetall(self._keys.webhook(name))
        pending = await self._redis.zcard(self._keys.deliveries(name))
        first = await self._redis.zrange(self._keys.deliveries(name), 0, 0, withscores=True)
        next_at = int(cast("float", first[0][1])) if first else None
        return WebhookState(name, about, int(pending), next_at, {str(k): str(v) for k, v in counts.items()})

    async def states(self) -> list[WebhookState]:
        """Return how each webhook in force fares, by name."""
        found = await self.in_force()
        return [await self.state(name, about) for name, about in sorted(found.items())]


def _parsed(text: str) -> Notice | None:
    try:
        return Notice.model_validate_json(text)
    except ValidationError:
        return None


def _delivery(text: str) -> Delivery | None:
    try:
        return Delivery.model_validate_json(text)
    except ValidationError:
        return None
