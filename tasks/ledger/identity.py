"""Which ledger this is, whose, and whether it has lost data."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from tasks.ledger.reads import LedgerReads
from tasks.runtime.clock import MAX_STEP_MS

DAY_MS = 86_400_000
REPORTED_S = 7 * 86_400
CLOCK_KNOWN_MS = 10_000


class OtherAccount(RuntimeError):  # noqa: N818 - named by what was found
    """The ledger belongs to another account at the provider; the text names the remedy."""


class ImportUnfinished(RuntimeError):  # noqa: N818 - named by what was found
    """A copy was only partly written to this ledger; the text names the remedy."""


def account_hash(access_key_id: str) -> str:
    """Return what is stored of an access key's id: enough to tell two apart."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class NotedTime:
    """A worker's time and the server's at one tick, in ms; `is_proven`: it did not take it on trust."""

    worker_ms: int
    server_ms: int
    is_proven: bool = True

    @property
    def ahead_ms(self) -> int:
        """How far the worker's clock was ahead of the server's."""
        return self.worker_ms - self.server_ms

    def is_recent(self, server_ms: int) -> bool:
        """Return whether a worker runs: its tick was just before `server_ms`, by the server's time."""
        return abs(server_ms - self.server_ms) <= CLOCK_KNOWN_MS

    def knows_better(self, server_ms: int) -> bool:
        """Return whether a worker that runs knows the time, and the server has another."""
        return self.is_proven and self.is_recent(server_ms) and abs(self.ahead_ms) > MAX_STEP_MS


class LedgerIdentity(LedgerReads):
    """What the ledger's epoch says beside the count of steps."""

    async def acknowledge_data_loss(self) -> None:
        """Accept the ledger as it is, though data that a worker has seen is missing from it.

        Operators do it by `admin.acknowledge_data_loss`, which records who did. The operation log is still
        compared with it before each cluster's next call, if its server was replaced or it was filled from a
        copy: a job that no operation owns, and that was not reported yet, marks it again.

        Raises:
            ImportUnfinished: the ledger has only a part of a copy.
        """
        name = uuid.uuid4().hex
        importing, imported = await cast("Any", self.redis.hmget(self.keys.epoch, ["importing", "imported"]))
        if importing is not None:
            raise ImportUnfinished(
                "the ledger has only a part of a copy, because an import was interrupted: run "
                "`scaleout ledger import` again, which begins anew"
            )
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.keys.epoch, mapping={"id": name, "accepted": name, "count": 0})
            pipe.hdel(self.keys.epoch, "lost")
            if imported is not None:
                pipe.hset(self.keys.epoch, mapping={"changed": self.clock.now_ms(), "since": imported})
                # A later loss is not as old as the copy.
                pipe.hdel(self.keys.epoch, "imported")
            pipe.delete(self.keys.steps)
            await pipe.execute()

    async def imported_at(self) -> int | None:
        """Return of when (ms) the copy is that this ledger was filled from, or None."""
        found = await cast("Any", self.redis.hget(self.keys.epoch, "imported"))
        return None if found is None else int(found)

    async def report_jobs(self, job_ids: Sequence[str]) -> None:
        """Note that these jobs without an operation were reported: they mark no ledger again."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.set(self.keys.reported_missing(job_id), "1", ex=REPORTED_S)
            await pipe.execute()

    async def reported_jobs(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of the jobs that were reported in the last week."""
        keys = [self.keys.reported_missing(job_id) for job_id in job_ids]
        found = await self.redis.mget(keys) if keys else []
        return {job_id for job_id, noted in zip(job_ids, found, strict=True) if noted}

    async def claim_for_account(self, access_key_id: str) -> None:
        """Note whose nodes this ledger buys, once.

        Raises:
            OtherAccount: it buys those of another access key.
        """
        account = account_hash(access_key_id)
        await cast("Any", self.redis.hsetnx(self.keys.epoch, "account", account))
        await self.demand_account(access_key_id)

    async def demand_account(self, access_key_id: str) -> None:
        """Raise OtherAccount if the ledger buys the nodes of another access key."""
        noted = await cast("Any", self.redis.hget(self.keys.epoch, "account"))
        if noted not in (None, account_hash(access_key_id)):
            raise OtherAccount(
                f"the ledger with SCALEOUT_KEY_PREFIX={self.keys.prefix} belongs to another access key: give "
                "this installation a prefix of its own, or run `scaleout doctor --acknowledge-account` if "
                "the key is a new one of the same account"
            )

    async def acknowledge_account(self, access_key_id: str) -> bool:
        """Note this access key as the ledger's, in place of another one of the same account.

        Returns whether it was another one before.
        """
        account = account_hash(access_key_id)
        before = await cast("Any", self.redis.hget(self.keys.epoch, "account"))
        await cast("Any", self.redis.hset(self.keys.epoch, "account", account))
        return bool(before != account)

    async def mark_data_lost(self) -> None:
        """Mark the ledger, of which somebody has proof that data is missing: nothing is sent any more."""
        await cast("Any", self.redis.hsetnx(self.keys.epoch, "lost", self.clock.now_ms()))

    async def lost_since(self) -> int | None:
        """Return since when (ms) data is known to be missing, or None."""
        since = await cast("Any", self.redis.hget(self.keys.epoch, "lost"))
        return None if since is None else int(since)

    async def server_changed_since(self) -> int | None:
        """Return after when (ms) the server was restarted or replaced, if that was in the last day."""
        changed, since = await cast("Any", self.redis.hmget(self.keys.epoch, ["changed", "since"]))
        recent = changed is not None and self.clock.now_ms() - int(changed) < DAY_MS
        return int(since) if recent else None

    async def noted_time(self) -> NotedTime | None:
        """Return what the worker that ticked last has noted, or None."""
        noted = await self.redis.get(self.keys.clock)
        if not noted:
            return None
        # An earlier version does not write the third.
        worker_ms, server_ms, is_proven = [*map(int, str(noted).split()), 1][:3]
        return NotedTime(worker_ms, server_ms, bool(is_proven))

    async def clock_stepped_ms(self) -> int:
        """Return how far the server's clock was from the workers' time at the last tick."""
        noted = await self.noted_time()
        return 0 if noted is None else -noted.ahead_ms
