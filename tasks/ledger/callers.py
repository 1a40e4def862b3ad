"""Celery tasks that wait for requests: what is known of each, beside the request itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.ledger.change_entries import CALLER_KEPT_S
from tasks.ledger.reads import LedgerReads, parsed_object

SENT_KEPT_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Caller:
    """A Celery task.

    Fields:
        request_id: the request that it waits for; None if it has none, or is older than this version.
        callbacks: what is sent when the request ends; None if there is nothing, or it has been sent.
        ignores_result: nobody reads its result.
    """

    task_id: str
    request_id: str | None = None
    callbacks: Mapping[str, Any] | None = None
    ignores_result: bool = False


class Callers:
    """The callers of one ledger."""

    def __init__(self, ledger: LedgerReads) -> None:
        self._redis: Any = ledger.redis
        self._keys = ledger.keys

    async def note(self, task_id: str, callbacks: Mapping[str, Any] | None, *, ignores_result: bool) -> None:
        """Keep what a message says beside its request; a message that comes twice changes nothing."""
        key = self._keys.caller(task_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            if callbacks is not None:
                pipe.hsetnx(key, "callbacks", json.dumps(callbacks))
            if ignores_result:
                pipe.hset(key, "ignores_result", "1")
            pipe.expire(key, CALLER_KEPT_S)
            await pipe.execute()

    async def read(self, task_ids: Sequence[str]) -> list[Caller]:
        """Return what is known of each task."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for task_id in task_ids:
                pipe.hmget(self._keys.caller(task_id), "request_id", "callbacks", "ignores_result")
            rows = await pipe.execute() if task_ids else []
        return [
            Caller(task_id, request_id, parsed_object(callbacks), bool(ignores))
            for task_id, (request_id, callbacks, ignores) in zip(task_ids, rows, strict=True)
        ]

    async def callbacks_sent(self, task_id: str) -> None:
        """Forget the callbacks of a task, so that nothing sends them again."""
        # Not deleted: a message that comes again would keep them anew.
        await self._redis.hset(self._keys.caller(task_id), "callbacks", "")

    async def told(self, task_ids: Sequence[str]) -> None:
        """Know tasks that have got their outcome for as long as their requests."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for task_id in task_ids:
                pipe.expire(self._keys.caller(task_id), SENT_KEPT_S)
            await pipe.execute()

    async def revoke(self, task_id: str) -> None:
        """Note that the task is revoked: if its message comes later, nothing is bought."""
        key = self._keys.caller(task_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, "revoked", "1")
            pipe.expire(key, SENT_KEPT_S)
            await pipe.execute()

    async def is_revoked(self, task_id: str) -> bool:
        return bool(await self._redis.hexists(self._keys.caller(task_id), "revoked"))
