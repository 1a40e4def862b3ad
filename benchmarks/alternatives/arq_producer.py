"""Hands the requests on stdin to arq, in a process of its own: arq cannot live beside redis-py 8."""

import asyncio

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.alternatives.request_lines import requests_from_stdin
from benchmarks.alternatives.surroundings import Surroundings


async def main() -> None:
    pool = await create_pool(RedisSettings.from_dsn(Surroundings.from_environment().redis_url))
    print("ready.", flush=True)
    async for request in requests_from_stdin():
        await pool.enqueue_job("add_nodes", _job_id=request["request_id"], **request)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main())
