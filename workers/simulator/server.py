"""The simulator as a server."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from workers.simulator.cloud import Cloud
from workers.simulator.control_api import ControlApi
from workers.simulator.faults import FaultPlan
from workers.simulator.http_api import EhpcApi
from workers.simulator.options import SimulatorOptions

STOP_S = 0.5


@dataclass(slots=True)
class RunningSimulator:
    url: str
    cloud: Cloud
    api: EhpcApi
    runner: web.AppRunner

    async def stop(self) -> None:
        await self.runner.cleanup()


async def start(options: SimulatorOptions, now: Callable[[], float] = time.time) -> RunningSimulator:
    """Listen; `now` is the provider's time in seconds, before its skew."""
    cloud = Cloud(options, lambda: now() + options.clock_skew_s)
    api = EhpcApi(options, cloud, FaultPlan(options.seed))
    app = web.Application(client_max_size=1024 * 1024)
    app.add_routes([*api.routes(), *ControlApi(api, cloud).routes()])
    app.on_shutdown.append(api.stop)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    return RunningSimulator(f"http://{host}:{port}", cloud, api, runner)


def serve_forever(options: SimulatorOptions) -> None:
    """Print one line of JSON with the URL, and serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(options))


async def _serve(options: SimulatorOptions) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    running = await start(options)
    sys.stdout.write(json.dumps({"url": running.url, "api_url": f"{running.url}/api"}) + "\n")
    sys.stdout.flush()
    sys.stderr.write(_exports(options, running.url))
    sys.stderr.flush()
    await stopped.wait()
    await running.stop()


def _exports(options: SimulatorOptions, url: str) -> str:
    """Return what to paste into the shell of a worker. A key that was given is not repeated."""
    known = options.secret_access_key == SimulatorOptions().secret_access_key
    lines = {
        "API_URL": f"{url}/api",
        "ACCESS_KEY_ID": options.access_key_id,
        "SECRET_ACCESS_KEY": options.secret_access_key if known else "'the key that you gave'",
    }
    return "".join(f"export SCALEOUT_{name}={value}\n" for name, value in lines.items())
