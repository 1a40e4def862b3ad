"""`scaleout health`: check that workers tick, for probes."""

import socket

from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json


def show_health(within_s: float, worker: str | None, *, anywhere: bool, as_json: bool) -> Exit:
    """Exit code 1 if none of the selected workers has ticked within `within_s`, 5 without Redis.

    A worker whose event loop, ticker thread or connection to Redis has stopped ticks no more.
    """

    async def read(ledger: Ledger, _: LedgerSettings) -> tuple[dict[str, int], int]:
        return await ledger.overview.heartbeats(), ledger.clock.now_ms()

    beats, now = with_ledger(read)
    here = f"@{socket.gethostname()}"
    selected = {
        name: at
        for name, at in beats.items()
        if anywhere or (name == worker if worker is not None else name.endswith(here))
    }
    rows = [
        {"worker": name, "last_tick": timestamp(at), "seconds_ago": max(0, now - at) / 1000}
        for name, at in sorted(selected.items(), key=lambda item: -item[1])
    ]
    healthy = any(now - at <= within_s * 1000 for at in selected.values())
    if as_json:
        print_json({"healthy": healthy, "workers": rows})
    elif rows:
        print_table(None, tuple(rows[0]), [tuple(row.values()) for row in rows])
    if not healthy:
        which = "worker" if anywhere else f"worker {worker}" if worker else f"worker of this host ({here})"
        echo(f"scaleout: no {which} has ticked within {within_s:g} s")
    return Exit.SUCCEEDED if healthy else Exit.FAILED
