"""`scaleout stats`."""

import json
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.views.stats import pool_stats
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

COLUMNS = (
    "cluster_id",
    "zone",
    "node_role",
    "resource_conf",
    "operations",
    "failed",
    "failure_rate",
    "p50_s",
    "p90_s",
    "until",
)


def show_stats(cluster_id: str | None, *, as_json: bool) -> Exit:
    async def read(ledger: Ledger, _: LedgerSettings) -> list[dict[str, Any]]:
        pools = [pool for pool in await ledger.overview.pools_seen() if cluster_id in (None, pool.cluster_id)]
        return [
            pool_stats(pool, await ledger.overview.durations(pool.cluster_id, pool.name)) for pool in pools
        ]

    rows = with_ledger(read)
    if as_json:
        print_json(rows)
    elif rows:
        print_table(None, COLUMNS, [[_cell(row[column]) for column in COLUMNS] for row in rows])
    else:
        echo("no operation has ended here yet")
    return Exit.SUCCEEDED


def _cell(value: Any) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
