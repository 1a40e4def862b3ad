"""The gateway: requests a second, waits and streams by the thousand, and reads of a large ledger."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import aiohttp
import redis

from benchmarks.contenders import SCALEOUT
from benchmarks.environment import Conditions, Environment, environment
from benchmarks.large_ledger import fill
from benchmarks.metrics_cost import SCRAPED_EVERY_S, MetricsCost, measure_metrics_cost
from benchmarks.options import Options
from benchmarks.percentiles import Spread, spread
from benchmarks.processes import Measured, start
from benchmarks.redis_stats import RedisMeter, url_of
from benchmarks.report import (
    Bars,
    Cell,
    Report,
    Table,
    Target,
    at_least,
    at_most,
    machine,
    now_text,
    paragraphs,
)
from workers.cli.demo.processes import free_port
from workers.gateway.clients import new_token

PER_S, FOR_S, QUICK_FOR_S = 100, 20.0, 5.0
ROUNDS, ROUND_S, AT_ONCE = 5, 2.0, 16
LISTENERS, QUICK_LISTENERS = 1_000, 100
IDLE_S = 10.0
PER_CLIENT = 50
ENDED, QUICK_ENDED = 100_000, 5_000
WAITING, CLUSTERS = 10_000, 12_000
TIMES = 7
COMMANDS = (("list", "--ended"), ("status", "old-000007"), ("history", "old-000007"))
PROVIDER = {"job_duration_s": "2-4", "log_lag_s": 0}


@dataclass(frozen=True, slots=True)
class Posted:
    """Times of single calls; and calls by each second of CPU when there are as many as can be."""

    times: Spread
    per_cpu_s: float
    flower_per_cpu_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """Calls that were answered, and the CPU of the process that answered them."""

    calls: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.calls + other.calls, self.cpu_s + other.cpu_s)

    @property
    def per_cpu_s(self) -> float:
        return self.calls / max(0.01, self.cpu_s)


@dataclass(frozen=True, slots=True)
class Listened:
    """With all waits and streams open. `delays`: from the end of a request to what each is told."""

    peak_mb: float
    idle_percent: float
    delays: Spread


@dataclass(frozen=True, slots=True)
class Large:
    """Milliseconds, medians. `scans`: KEYS and SCAN during a scrape."""

    scrape_ms: float
    page_ms: float
    commands_s: Mapping[str, float]
    scans: int


def measure(options: Options) -> Report:
    quick = options.quick
    options.say("gateway: requests a second, beside Flower")
    posted = asyncio.run(_posted(QUICK_FOR_S if quick else FOR_S))
    listeners = options.size or (QUICK_LISTENERS if quick else LISTENERS)
    options.say(f"gateway: {listeners} waits and {listeners} streams")
    listened = asyncio.run(_listened(listeners))
    ended = QUICK_ENDED if quick else ENDED
    options.say(f"gateway: a ledger with {ended:,} ended requests")
    large = asyncio.run(_large(ended, waiting=WAITING if not quick else 500))
    options.say("gateway: a worker with and without its metrics")
    metrics = measure_metrics_cost(quick=quick)
    return Report(
        name="gateway",
        title="The gateway",
        conditions=paragraphs(f"""
        Calls: {PER_S} `POST /v1/requests` a second beside a worker that carries them out; then as many as
        {AT_ONCE} clients make, in turns of {ROUND_S:g} s, {ROUNDS} for the gateway and {ROUNDS} for Flower's
        `POST /api/task/send-task`, which only puts a message into the queue.

        Listeners: {listeners:,} waits (`?wait`) and {listeners:,} streams, idle for {IDLE_S:g} s; then the
        requests that the waits are for end at once.

        Large ledger: {ended:,} ended requests, {WAITING if not quick else 500:,} open ones, {CLUSTERS:,}
        clusters.

        Metrics: {metrics.size} requests at once and one worker, {len(metrics.without)} times without
        `SCALEOUT_METRICS_PORT` and as often with it, by turns, then scraped every {SCRAPED_EVERY_S:g} s; the
        worker's CPU from the first request to the last outcome. Counters are kept in either case: what is
        compared is the serving of them.
        """),
        tables=_tables(posted, listened, large, metrics),
        targets=_targets(posted, listened, large, metrics, whole=not quick and options.size is None),
        bars=[
            Bars(
                "Requests by each second of CPU",
                "1/s",
                {"gateway": posted.per_cpu_s, "Flower": posted.flower_per_cpu_s},
            )
        ],
        measured_at=now_text(),
        machine=machine(),
    )


@contextmanager
def _gateway(here: Environment, clients: int) -> Iterator[tuple[Measured, str, list[str]]]:
    """Yield the process, its address, and a token of each client."""
    tokens, tables = [], []
    for number in range(clients):
        token, table = new_token(f"client-{number}", "operate")
        tokens.append(token)
        tables.append(table)
    path = here.folder / "tokens.toml"
    path.write_text("".join(tables))
    env = {
        "SCALEOUT_REDIS_URL": url_of(here.server),
        "SCALEOUT_GATEWAY_PORT": "0",
        "SCALEOUT_GATEWAY_TOKENS_FILE": str(path),
        "PATH": "/usr/bin:/bin",
    }
    with start("gateway", ["-m", "workers.cli.main", "gateway"], env, here.folder) as process:
        lines = process.until_written('"url"').text().splitlines()
        yield process, next(json.loads(line)["url"] for line in lines if line.startswith('{"url"')), tokens


async def _posted(for_s: float) -> Posted:
    with ExitStack() as stack:
        here = stack.enter_context(environment(Conditions(1.0, PROVIDER)))
        stack.enter_context(here.running(SCALEOUT, 64))
        # A client may make 60 requests a second.
        process, url, tokens = stack.enter_context(_gateway(here, 80))
        async with aiohttp.ClientSession() as session:
            times = await _paced(session, url, tokens, for_s)
        port = free_port()
        flower = ["-m", "celery", f"--broker={url_of(here.server)}", "flower", f"--port={port}"]
        env = {"FLOWER_UNAUTHENTICATED_API": "true", "PATH": "/usr/bin:/bin"}
        other = stack.enter_context(start("flower", [*flower, "--address=127.0.0.1"], env, here.folder))
        async with aiohttp.ClientSession() as session:
            await _until_up(session, f"http://127.0.0.1:{port}/healthcheck")

            async def send(number: int) -> None:
                content = {"kwargs": _fields(f"flower-{number}"), "queue": "nobody-reads-this"}
                address = f"http://127.0.0.1:{port}/api/task/send-task/scaleout.add_nodes"
                async with session.post(address, json=content) as answer:
                    answer.raise_for_status()

            async def post(number: int) -> None:
                await _post(session, url, tokens[number % len(tokens)], f"full-{number}")

            numbers, ours, flowers = count(), Work(), Work()
            for _ in range(ROUNDS):
                ours += await _saturated(process, post, numbers)
                flowers += await _saturated(other, send, numbers)
    return Posted(spread(times), ours.per_cpu_s, flowers.per_cpu_s)


def _fields(name: str) -> dict[str, object]:
    return {
        "request_id": name,
        "cluster_id": f"ehpc-bench{hash(name) % 50:02}",
        "zone": "jn1a",
        "node_count": 1,
    }


async def _post(session: aiohttp.ClientSession, url: str, token: str, name: str) -> float:
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{url}/v1/requests", json=_fields(name), headers=headers) as answer:
        await answer.read()
        answer.raise_for_status()
    return time.perf_counter() - began


async def _paced(
    session: aiohttp.ClientSession, url: str, tokens: Sequence[str], for_s: float
) -> list[float]:
    began, calls = time.monotonic(), []
    for number in range(round(PER_S * for_s)):
        await asyncio.sleep(max(0.0, began + number / PER_S - time.monotonic()))
        token = tokens[number % len(tokens)]
        calls.append(asyncio.create_task(_post(session, url, token, f"paced-{number}")))
    return list(await asyncio.gather(*calls))


async def _saturated(
    process: Measured, call: Callable[[int], Awaitable[None]], numbers: Iterator[int]
) -> Work:
    """Return what the process does with AT_ONCE calls under way all the time."""
    until, made, cpu_s = time.monotonic() + ROUND_S, 0, process.cpu_s()

    async def client() -> None:
        nonlocal made
        while time.monotonic() < until:
            await call(next(numbers))
            made += 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return Work(made, process.cpu_s() - cpu_s)


async def _until_up(session: aiohttp.ClientSession, address: str) -> None:
    for _ in range(200):
        try:
            async with session.get(address):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)


async def _listened(count: int) -> Listened:
    with ExitStack() as stack:
        here = stack.enter_context(environment(Conditions(1.0, PROVIDER)))
        process, url, tokens = stack.enter_context(_gateway(here, 2 * count // PER_CLIENT + 2))
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await _post(session, url, tokens[-1], "awaited")
            told: list[float] = []

            async def wait(number: int) -> None:
                headers = {"Authorization": f"Bearer {tokens[number // PER_CLIENT]}"}
                async with session.get(f"{url}/v1/requests/awaited?wait=60", headers=headers) as answer:
                    document = await answer.json()
                if document["outcome"] is not None:
                    told.append(time.time())

            async def stream(number: int) -> None:
                headers = {"Authorization": f"Bearer {tokens[(count + number) // PER_CLIENT]}"}
                async with session.get(f"{url}/v1/events", headers=headers) as answer:
                    async for line in answer.content:
                        if line.startswith(b"event: outcome"):
                            told.append(time.time())
                            return

            calls = []
            for number in range(count):
                calls += [asyncio.create_task(wait(number)), asyncio.create_task(stream(number))]
                await asyncio.sleep(0.004)
            await asyncio.sleep(2)
            cpu_s = process.cpu_s()
            await asyncio.sleep(IDLE_S)
            idle = 100 * (process.cpu_s() - cpu_s) / IDLE_S
            at = time.time()
            headers = {"Authorization": f"Bearer {tokens[-1]}"}
            async with session.post(f"{url}/v1/requests/awaited/cancel", json={}, headers=headers) as answer:
                answer.raise_for_status()
            await asyncio.wait_for(asyncio.gather(*calls), 60)
        return Listened(process.peak_mb(), idle, spread([max(0.0, one - at) for one in told]))


async def _large(ended: int, *, waiting: int) -> Large:
    with ExitStack() as stack:
        here = stack.enter_context(environment(Conditions(1.0, PROVIDER)))
        fill(here.server, ended=ended, waiting=waiting, clusters=CLUSTERS)
        _, url, tokens = stack.enter_context(_gateway(here, 1))
        headers = {"Authorization": f"Bearer {tokens[0]}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            meter = RedisMeter(here.server)
            scrape = await _median_ms(session, f"{url}/metrics")
            commands = meter.read().commands
            page = await _median_ms(session, f"{url}/")
        scans = sum(commands.get(name, 0) for name in ("keys", "scan"))
        return Large(scrape, page, {" ".join(one): _command_s(here.server, one) for one in COMMANDS}, scans)


async def _median_ms(session: aiohttp.ClientSession, address: str) -> float:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        async with session.get(address) as answer:
            await answer.read()
            answer.raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
        # What is kept for a second, or two, must not count.
        await asyncio.sleep(2.1)
    return statistics.median(times)


def _command_s(server: redis.Redis, command: Sequence[str]) -> float:
    env = {"SCALEOUT_REDIS_URL": url_of(server), "PATH": "/usr/bin:/bin"}
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "workers.cli.main", *command],
            cwd=Path(__file__).parents[1],
            env=env,
            capture_output=True,
            check=False,
        )
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _tables(posted: Posted, listened: Listened, large: Large, metrics: MetricsCost) -> list[Table]:
    ms = 1000
    commands: list[list[Cell]] = [[f"scaleout {name}, s", took] for name, took in large.commands_s.items()]
    return [
        Table(
            "Calls",
            ["", "gateway", "Flower"],
            [
                ["p50, ms", posted.times.p50 * ms, None],
                ["p99, ms", posted.times.p99 * ms, None],
                ["requests by each second of CPU", posted.per_cpu_s, posted.flower_per_cpu_s],
            ],
        ),
        Table(
            "Listeners",
            ["", "measured"],
            [
                ["peak memory, MB", listened.peak_mb],
                ["CPU while idle, % of a core", listened.idle_percent],
                ["an outcome reaches half of them, s", listened.delays.p50],
                ["99 %, s", listened.delays.p99],
            ],
        ),
        Table(
            "Large ledger",
            ["", "measured"],
            [
                ["a scrape, ms", large.scrape_ms],
                ["the page, ms", large.page_ms],
                *commands,
                ["KEYS and SCAN in the scrapes", large.scans],
            ],
        ),
        Table(
            "A worker's metrics",
            ["", "median", "least", "most"],
            [
                ["CPU without them, ms/request", *_spread(metrics.without)],
                ["CPU with them, ms/request", *_spread(metrics.scraped)],
                ["with to without, of a pair", *_spread(metrics.ratios)],
            ],
        ),
    ]


def _spread(values: Sequence[float]) -> list[Cell]:
    return [statistics.median(values), min(values), max(values)]


def _targets(
    posted: Posted, listened: Listened, large: Large, metrics: MetricsCost, *, whole: bool
) -> list[Target]:
    found = [
        at_most("p99 of a call at 100 a second", 50, posted.times.p99 * 1000, " ms"),
        at_least("requests by CPU, of Flower's", 2, posted.per_cpu_s / posted.flower_per_cpu_s, " ×"),
        at_most("memory with all listeners", 150, listened.peak_mb, " MB"),
        at_most("CPU with all listeners idle", 10, listened.idle_percent, " % of a core"),
        at_most("an outcome reaches 99 % of them within", 0.5, listened.delays.p99, " s"),
        at_most("a scrape of a large ledger", 100, large.scrape_ms, " ms"),
        at_most("KEYS and SCAN in it", 0, large.scans),
        at_most("the page of a large ledger", 300, large.page_ms, " ms"),
        at_most("a worker's CPU with metrics, of that without", 1.03, metrics.ratio, " ×"),
        at_most("the slowest of three commands", 1, max(large.commands_s.values()), " s"),
    ]
    return found if whole else [Target(one.figure, one.reach, one.measured, None) for one in found]
