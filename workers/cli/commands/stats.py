"""`scaleout stats`."""

from typing import Any

from tasks.ledger.ledger import Ledger
from tasks.views.stats import pool_stats
from workers.cli.arguments import Output
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

COLUMNS = ("cluster_id", "zone", "node_role", "operations", "failed", "p50_s", "p90_s")
WIDE = (*COLUMNS, "failure_rate", "nodes_added", "since", "until", "resource_conf")


async def read_stats(ledger: Ledger, cluster_id: str | None) -> list[dict[str, Any]]:
    """Return the statistics of each pool; `cluster_id`: only of this cluster."""
    pools = [pool for pool in await ledger.overview.pools_seen() if cluster_id in (None, pool.cluster_id)]
    return [pool_stats(pool, await ledger.overview.durations(pool.cluster_id, pool.name)) for pool in pools]


def show_stats(cluster_id: str | None, output: Output) -> Exit:
    rows = with_ledger(lambda ledger, _: read_stats(ledger, cluster_id))
    if output is Output.json:
        print_json(rows)
    elif rows:
        columns = WIDE if output is Output.wide else COLUMNS
        print_table(None, columns, [[row[column] for column in columns] for row in rows])
    else:
        echo("no operation has ended here yet")
    return Exit.SUCCEEDED
