"""`scaleout demo`: the whole system on loopback, for under a minute, leaving nothing behind."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from celery import Celery
from pydantic import SecretStr

from config.celery_servers import server_options
from config.settings import LedgerSettings, load
from tasks.engine.wiring import open_ledger
from tasks.views.read_status import read_documents
from workers.cli.demo.processes import (
    DemoFailed,
    free_port,
    gateway,
    redis_server,
    simulator,
    stock,
    worker,
    worker_environment,
)
from workers.cli.demo.progress import open_progress
from workers.cli.demo.scenario import SCENARIO, SOLD_OUT_CLUSTER, SOLD_OUT_NODES, Group
from workers.cli.demo.schedule import write_schedule
from workers.cli.demo.what_to_try import what_to_try
from workers.cli.exit_codes import Exit
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json
from workers.simulator.client import Child, ChildFailed, SimulatorClient

MAX_S = 90.0
CHECK_INTERVAL_S = 0.25


def run_demo(*, as_json: bool, keep: bool = False) -> Exit:
    """Run it all. `keep`: leave it running after the report, until Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end_in_order)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scaleout-demo-")))
            redis_url = stack.enter_context(redis_server(_given_server(), folder))
            provider = stack.enter_context(simulator(folder))
            provider.post("stock", stock(SOLD_OUT_CLUSTER, 0))
            scheduled = write_schedule(folder, datetime.now(UTC))
            groups = (*SCENARIO, scheduled.group)
            env = worker_environment(redis_url, provider.api_url, scheduled.policy)
            page = stack.enter_context(gateway(env, folder)) if keep else None
            if keep:
                env["SCALEOUT_METRICS_PORT"] = str(free_port())
            process = stack.enter_context(worker(env, folder))
            echo(f"server, simulator {provider.url} and worker (pid {process.popen.pid}) started")
            if page is not None:
                echo(f"page {page}/")
            with Celery() as producer:
                producer.conf.update(server_options(LedgerSettings(redis_url=SecretStr(redis_url))))
                task_ids = _enqueue(producer)
                by_schedule = asyncio.run(_follow(redis_url, provider, process, groups, scheduled.group))
                outcomes = {
                    name: producer.AsyncResult(task_id).get(timeout=5) for name, task_id in task_ids.items()
                }
            code = _report({**outcomes, **by_schedule}, groups, provider.get("truth"), as_json=as_json)
            if keep:
                for line in what_to_try(env, provider.url, str(page)):
                    echo(line)
                stack.callback(echo, "scaleout demo: ended; nothing is left running")
                _until_interrupted(process)
            return code
    except (ChildFailed, DemoFailed) as failure:
        echo(f"scaleout demo: {failure}")
        return Exit.FAILED
    except KeyboardInterrupt:
        echo("scaleout demo: stopped; nothing is left running")
        return Exit.FAILED


def _until_interrupted(process: Child) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            process.check()
            time.sleep(CHECK_INTERVAL_S)


def _given_server() -> str | None:
    """Return the server that the environment names, if it does. Raises SettingsError for an invalid URL."""
    if not os.environ.get("SCALEOUT_REDIS_URL"):
        return None
    return load(LedgerSettings).redis_url.get_secret_value()


def _end_in_order(_signal: int, _frame: FrameType | None) -> None:
    """As Ctrl-C does: asyncio turns that into the cancellation of its main task, wherever it stands."""
    signal.raise_signal(signal.SIGINT)


def _enqueue(producer: Celery) -> dict[str, str]:
    """Send as any service would, without this project's code; return the task ids by request.

    Only ids: an AsyncResult that is let go after the server has gone tries to reach it for seconds.
    """
    return {
        request["request_id"]: producer.send_task("scaleout.add_nodes", kwargs=request, queue="scaleout").id
        for group in SCENARIO
        for request in group.requests
    }


async def _follow(
    redis_url: str, provider: SimulatorClient, process: Child, groups: Sequence[Group], scheduled: Group
) -> dict[str, Any]:
    """Wait until all have ended; return the outcomes of `scheduled`, which no producer waits for."""
    ledger = await open_ledger(LedgerSettings(redis_url=SecretStr(redis_url)))
    deadline = time.monotonic() + MAX_S
    ids = [request_id for group in groups for request_id in group.ids]
    sold_out = True
    try:
        with open_progress(groups) as progress:
            while True:
                process.check()
                provider.process.check()
                found = await ledger.requests(ids)
                documents = await read_documents(ledger, list(found.values()))
                statuses = {document["request_id"]: document for document in documents}
                progress.show(statuses)
                if len(found) == len(ids) and all(request.ended for request in found.values()):
                    return dict(zip(scheduled.ids, await ledger.outcomes(scheduled.ids), strict=True))
                if sold_out and "demo-wait" in found and found["demo-wait"].refusals:
                    provider.post("stock", stock(SOLD_OUT_CLUSTER, SOLD_OUT_NODES))
                    sold_out = False
                if time.monotonic() > deadline:
                    raise DemoFailed(f"not done within {MAX_S:g} s; the worker said:\n{process.last_lines()}")
                await asyncio.sleep(CHECK_INTERVAL_S)
    finally:
        await ledger.redis.aclose()


def _report(outcomes: Mapping[str, Any], groups: Sequence[Group], truth: Any, *, as_json: bool) -> Exit:
    nodes = sum(len(cluster["nodes"]) for cluster in truth["clusters"].values())
    calls = truth["calls"]["by_action"]
    right = nodes == sum(outcome["nodes_added"] for outcome in outcomes.values()) and all(
        outcomes[name]["status"] == group.expected for group in groups for name in group.ids
    )
    if as_json:
        print_json({"outcomes": list(outcomes.values()), "nodes": nodes, "api_calls": calls})
    else:
        columns = ("request_id", "cluster", "status", "nodes", "jobs", "refusals", "seconds", "error")
        print_table("Outcomes", columns, [_row(outcome) for outcome in outcomes.values()])
        print_table("API calls", ("action", "calls"), [*calls.items(), ("all", sum(calls.values()))])
        echo(f"{len(outcomes)} requests, {nodes} nodes at the provider, {sum(calls.values())} API calls")
    if not right:
        echo("scaleout demo: the outcomes are not what was to be expected")
    return Exit.SUCCEEDED if right else Exit.FAILED


def _row(outcome: Mapping[str, Any]) -> tuple[object, ...]:
    error = outcome["error"]
    return (
        outcome["request_id"],
        outcome["cluster_id"],
        outcome["status"],
        f"{outcome['nodes_added']}/{outcome['nodes_requested'] or '-'}",
        len(outcome["operations"]),
        outcome["refusals"],
        f"{outcome['duration_s']:.1f}",
        f"{error['kind']}: {error['message']}" if error else None,
    )
