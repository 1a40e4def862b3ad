"""arq: a coroutine a job, which polls until its job has ended. Runs in an environment of its own."""

import asyncio
from typing import Any, ClassVar

from arq import run_worker
from arq.connections import RedisSettings

from benchmarks.alternatives.outcomes import LOCK_S, lock_name, outcome_of, put_outcome
from benchmarks.alternatives.provider import Provider, Refused
from benchmarks.alternatives.surroundings import Surroundings

given = Surroundings.from_environment()


async def add_nodes(
    ctx: dict[str, Any], request_id: str, cluster_id: str, zone: str, node_count: int
) -> dict[str, Any]:
    provider: Provider = ctx["provider"]
    async with ctx["redis"].lock(lock_name(cluster_id), timeout=LOCK_S, sleep=given.poll_s):
        try:
            job_id = await _add(provider, zone, cluster_id, node_count)
        except Refused as refused:
            outcome = outcome_of(request_id, cluster_id, None, refused.message)
        else:
            outcome = outcome_of(request_id, cluster_id, await _ended(provider, zone, job_id))
    async with ctx["redis"].pipeline(transaction=False) as pipeline:
        put_outcome(pipeline, outcome)
        await pipeline.execute()
    return outcome


async def _add(provider: Provider, zone: str, cluster_id: str, node_count: int) -> str:
    while True:
        try:
            return await provider.add_nodes(zone, cluster_id, node_count)
        except Refused as refused:
            if not refused.for_now:
                raise
        await asyncio.sleep(given.poll_s)


async def _ended(provider: Provider, zone: str, job_id: str) -> dict[str, Any]:
    while True:
        await asyncio.sleep(given.poll_s)
        if row := await provider.job(zone, job_id):
            return row


async def _start(ctx: dict[str, Any]) -> None:
    ctx["provider"] = Provider(given)
    print("ready.", flush=True)


async def _stop(ctx: dict[str, Any]) -> None:
    await ctx["provider"].close()


class WorkerSettings:
    functions: ClassVar = [add_nodes]
    on_startup = _start
    on_shutdown = _stop
    redis_settings = RedisSettings.from_dsn(given.redis_url)
    max_jobs = given.concurrency
    job_timeout = 2 * LOCK_S


if __name__ == "__main__":
    run_worker(WorkerSettings)
