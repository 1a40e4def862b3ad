"""A large ledger: what an idle worker costs, and each step and command, beside all that has ended."""

import asyncio
import logging
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from pydantic import SecretStr

from benchmarks.contenders import SCALEOUT, Request
from benchmarks.environment import Conditions, Environment, environment, until
from benchmarks.large_ledger import KEYS, fill, fill_pools
from benchmarks.options import Options
from benchmarks.processes import ROOT, Measured
from benchmarks.redis_stats import cpu_s as server_cpu_s
from benchmarks.redis_stats import url_of
from benchmarks.report import Cell, Report, Table, Target, at_most, machine, now_text, paragraphs
from config.settings import Settings
from tasks.contract.request import ScaleOutRequest
from tasks.engine.wiring import open_api, open_api_connections, open_ledger, open_rate_limiter
from tasks.handlers.context import Context
from tasks.handlers.plan_cluster import fit_to_policy, read_cluster
from tasks.handlers.scrub_ledger import KEYS_AT_ONCE, Pace, Scrub
from tasks.intake.accept import Intake

ENDED, WAITING, CLUSTERS, POOLS = 100_000, 10_000, 12_000, 12_000
QUICK_ENDED, QUICK_WAITING, QUICK_POOLS = 5_000, 500, 500
IDLE_S, QUICK_IDLE_S = 60.0, 15.0
SETTLING_S = 30.0
TIMES = 5
PROVIDER = {"job_duration_s": "2-4", "log_lag_s": 0}
STATS = "stats --json"
COMMANDS = (
    "list",
    "list --ended",
    "list --cluster ehpc-large00007",
    "status old-000007",
    "history old-000007",
    "history --cluster ehpc-large00007",
    "history --status failed",
    "history --requested-by producer-3",
    "stats",
    STATS,
    "doctor",
)


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker with nothing to do."""

    commands_per_s: float
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Step:
    """The median of several times."""

    ms: float
    commands: int


@dataclass(frozen=True, slots=True)
class Command:
    """What a command takes: by the clock, of CPU, and of the server's CPU, in seconds."""

    seconds: float
    cpu_s: float
    server_cpu_s: float
    commands: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """The same ledger, empty and full."""

    idle: dict[str, Idle]
    steps: dict[str, dict[str, Step]]
    start_s: float
    others_percent: float
    commands: dict[str, Command]
    scrub_pass_s: float


def measure(options: Options) -> Report:
    quick = options.quick
    ended, waiting = (QUICK_ENDED, QUICK_WAITING) if quick else (options.size or ENDED, WAITING)
    pools, idle_s = (QUICK_POOLS, QUICK_IDLE_S) if quick else (POOLS, IDLE_S)
    with environment(Conditions(1.0, PROVIDER)) as here:
        options.say("large: an empty ledger")
        idle = {"empty": _idle(here, idle_s)}
        steps = {"empty": asyncio.run(_steps(here))}
        options.say(f"large: {ended:,} ended requests, {waiting:,} that wait")
        here.server.config_set("appendfsync", "no")
        fill(here.server, ended=ended, waiting=waiting, clusters=CLUSTERS)
        fill_pools(here.server, pools)
        here.server.config_set("appendfsync", "always")
        start_s, others_percent = _start_s(here)
        idle["large"] = _idle(here, idle_s)
        steps["large"] = asyncio.run(_steps(here))
        commands = {name: _command(here.server, name.split()) for name in COMMANDS}
        found = Found(idle, steps, start_s, others_percent, commands, _scrub_pass_s(here.server))
    return Report(
        name="large",
        title="A large ledger",
        conditions=paragraphs(f"""
        {ended:,} ended requests and {waiting:,} that wait, on {CLUSTERS:,} clusters, and one cluster with
        {pools:,} pools that wait; one worker with its default settings, beside the same on an empty ledger.

        Idle for {idle_s:g} s. Commands are counted by the server, those inside scripts too. Times of commands
        are of one run, from the start of Python to its end. Steps are medians of {TIMES}.
        """),
        tables=_tables(found),
        targets=_targets(found, whole=not quick and options.size is None),
        measured_at=now_text(),
        machine=machine(),
    )


def _counted(server: redis.Redis) -> int:
    """Return how many commands the server has done since the last reset, without the reset itself."""
    rows: Any = server.info("commandstats")
    return sum(int(row["calls"]) for name, row in rows.items() if name != "cmdstat_config|resetstat")


def _idle(here: Environment, idle_s: float) -> Idle:
    with here.running(SCALEOUT, 1) as running:
        (process,) = running.processes
        time.sleep(SETTLING_S)
        return _measure_idle(here.server, process, idle_s)


def _measure_idle(server: redis.Redis, process: Measured, idle_s: float) -> Idle:
    server.config_resetstat()
    before, began = process.cpu_s(), time.monotonic()
    time.sleep(idle_s)
    took_s = time.monotonic() - began
    return Idle(_counted(server) / took_s, 100 * (process.cpu_s() - before) / took_s)


def _start_s(here: Environment) -> tuple[float, float]:
    """Return seconds from the start of a worker until it has accepted a request, and how much others used."""
    began = time.monotonic()
    with here.running(SCALEOUT, 1) as running:
        load = here.load_meter(running)
        running.send(Request("started", "ehpc-started"))
        key = KEYS.request("started")
        until(lambda: int(here.server.exists(key)), 1, "accepted", running.processes, 60)
        took_s = time.monotonic() - began
        time.sleep(SETTLING_S)
        return took_s, load.others_percent()


async def _steps(here: Environment) -> dict[str, Step]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = Settings(
        redis_url=SecretStr(url_of(here.server)),
        api_url="http://127.0.0.1:1/api",
        access_key_id=SecretStr("key"),
        secret_access_key=SecretStr("secret"),
    )
    ledger = await open_ledger(settings)
    async with open_api_connections(settings) as connections:
        api, limiter = open_api(settings, connections, ledger.clock), open_rate_limiter(settings, ledger)
        ctx = Context(settings, ledger, api, limiter, ledger.clock)
        intake = Intake(ledger, coalesce_s=0, deadline_s=7200)
        number = iter(range(1_000_000))
        scrub = Scrub(ctx, Pace(interval_ms=0, open_record_ms=0))

        async def accept() -> None:
            name = f"step{time.time_ns()}"
            spec = ScaleOutRequest(request_id=name, cluster_id=f"ehpc-{name}", zone="jn1a", node_count=2)
            await intake.accept(spec, None)

        async def plan(cluster_id: str) -> None:
            await fit_to_policy(ctx, await read_cluster(ctx, cluster_id))

        async def check() -> None:
            here.server.delete(KEYS.scrub_next)
            await scrub.step()

        async def plan_one() -> None:
            await plan(f"ehpc-large{next(number):05}")

        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "a tick": lambda: ledger.tick(1.0, "bench"),
            "accept a request": accept,
            "plan a cluster": plan_one,
            "plan a cluster with many pools": lambda: plan("ehpc-pools"),
            "a look for due work": lambda: ledger.request_sweep(1.0, "bench"),
            "a step of the slow check": check,
        }
        try:
            return {name: await _step(here.server, do) for name, do in steps.items()}
        finally:
            await ledger.redis.aclose()


async def _step(server: redis.Redis, do: Callable[[], Awaitable[object]]) -> Step:
    await do()
    times, counts = [], []
    for _ in range(TIMES):
        server.config_resetstat()
        began = time.perf_counter()
        await do()
        times.append(1000 * (time.perf_counter() - began))
        counts.append(_counted(server))
    return Step(sorted(times)[TIMES // 2], sorted(counts)[TIMES // 2])


def _command(server: redis.Redis, arguments: Sequence[str]) -> Command:
    env = {"SCALEOUT_REDIS_URL": url_of(server), "PATH": "/usr/bin:/bin"}
    server.config_resetstat()
    began, before, of_server = time.perf_counter(), _children_cpu_s(), server_cpu_s(server)
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli.main", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        check=False,
    )
    took_s, cpu_s = time.perf_counter() - began, _children_cpu_s() - before
    return Command(took_s, cpu_s, server_cpu_s(server) - of_server, _counted(server), len(done.stdout))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _scrub_pass_s(server: redis.Redis) -> float:
    """Return how long the slow check takes for all keys while few requests are open, by its settings."""
    return int(server.dbsize()) / KEYS_AT_ONCE * Pace().interval_ms / 1000


def _tables(found: Found) -> list[Table]:
    idle: list[list[Cell]] = [[name, one.commands_per_s, one.cpu_percent] for name, one in found.idle.items()]
    empty, large = found.steps["empty"], found.steps["large"]
    steps: list[list[Cell]] = [
        [name, empty[name].commands, large[name].commands, empty[name].ms, large[name].ms] for name in large
    ]
    commands: list[list[Cell]] = [
        [f"scaleout {name}", one.seconds, one.cpu_s, one.server_cpu_s, one.commands, one.bytes]
        for name, one in found.commands.items()
    ]
    other: list[list[Cell]] = [
        ["start of a worker until it has accepted a request, s", found.start_s],
        ["machine used by others just then, %", found.others_percent],
        ["the slow check goes through all keys, with few open requests, min", found.scrub_pass_s / 60],
    ]
    return [
        Table("An idle worker", ["ledger", "Redis commands a second", "CPU, % of a core"], idle),
        Table("Steps", ["", "commands, empty", "commands, large", "ms, empty", "ms, large"], steps),
        Table("Commands", ["", "s", "CPU s", "server's CPU s", "Redis commands", "bytes printed"], commands),
        Table("Others", ["", "measured"], other),
    ]


def _targets(found: Found, *, whole: bool) -> list[Target]:
    large = found.steps["large"]
    cpu_s = max(one.cpu_s + one.server_cpu_s for one in found.commands.values())
    targets = [
        at_most("an idle worker, empty ledger", 5, found.idle["empty"].commands_per_s, " commands/s"),
        at_most("an idle worker, large ledger", 5, found.idle["large"].commands_per_s, " commands/s"),
        at_most("its CPU, large ledger", 0.5, found.idle["large"].cpu_percent, " % of a core"),
        at_most("start to the first request", 3, found.start_s, " s"),
        at_most(
            "plan a cluster with many pools",
            200,
            large["plan a cluster with many pools"].commands,
            " commands",
        ),
        at_most("the slowest command", 1.5, cpu_s, " s of CPU"),
        at_most(f"scaleout {STATS}", 50_000, found.commands[STATS].bytes, " bytes"),
    ]
    return targets if whole else [Target(one.figure, one.reach, one.measured, None) for one in targets]
