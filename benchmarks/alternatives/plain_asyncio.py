"""A script with a coroutine a job and no queue: the floor. What it was doing is gone when it ends."""

import asyncio
from collections import defaultdict
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.alternatives.outcomes import outcome_of, put_outcome
from benchmarks.alternatives.provider import Provider, Refused
from benchmarks.alternatives.request_lines import requests_from_stdin
from benchmarks.alternatives.surroundings import Surroundings

CONNECTIONS = 32


class Script:
    def __init__(self, given: Surroundings) -> None:
        self._poll_s = given.poll_s
        self._provider = Provider(given)
        pool = BlockingConnectionPool.from_url(given.redis_url, max_connections=CONNECTIONS, timeout=None)
        self._redis = Redis.from_pool(pool)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        print("ready.", flush=True)
        jobs = set()
        async for request in requests_from_stdin():
            job = asyncio.create_task(self._add_nodes(**request))
            jobs.add(job)
            job.add_done_callback(jobs.discard)
        await asyncio.gather(*jobs)
        await self._provider.close()
        await self._redis.aclose()

    async def _add_nodes(self, request_id: str, cluster_id: str, zone: str, node_count: int) -> None:
        async with self._locks[cluster_id]:
            try:
                job_id = await self._add(zone, cluster_id, node_count)
            except Refused as refused:
                outcome = outcome_of(request_id, cluster_id, None, refused.message)
            else:
                outcome = outcome_of(request_id, cluster_id, await self._ended(zone, job_id))
        async with self._redis.pipeline(transaction=False) as pipeline:
            put_outcome(pipeline, outcome)
            await pipeline.execute()

    async def _add(self, zone: str, cluster_id: str, node_count: int) -> str:
        while True:
            try:
                return await self._provider.add_nodes(zone, cluster_id, node_count)
            except Refused as refused:
                if not refused.for_now:
                    raise
            await asyncio.sleep(self._poll_s)

    async def _ended(self, zone: str, job_id: str) -> dict[str, Any]:
        while True:
            await asyncio.sleep(self._poll_s)
            if row := await self._provider.job(zone, job_id):
                return row


async def main() -> None:
    await Script(Surroundings.from_environment()).run()


if __name__ == "__main__":
    asyncio.run(main())
