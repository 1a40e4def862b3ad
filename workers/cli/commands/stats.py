"""`scaleout stats`."""

from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.views.stats import pool_stats
from workers.cli.arguments import Output
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

COLUMNS = ("cluster_id", "zone", "node_role", "operations", "failed", "p50_s", "p90_s")
WIDE = (*COLUMNS, "failure_rate", "nodes_added", "since", "until", "resource_conf")


MAX_POOLS = 10_000  # of an answer over HTTP


async def read_stats(ledger: Ledger, cluster_id: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the statistics of `limit` pools, those whose last operation ended last first.

    `cluster_id`: only of this cluster.
    """
    if cluster_id is None:
        pools = await ledger.overview.pools_seen(limit)
    else:
        every = await ledger.overview.pools_seen()
        pools = [pool for pool in every if pool.cluster_id == cluster_id][:limit]
    durations = await ledger.overview.durations_of([(pool.cluster_id, pool.name) for pool in pools])
    return [pool_stats(pool, found) for pool, found in zip(pools, durations, strict=True)]


def show_stats(cluster_id: str | None, limit: int, output: Output) -> Exit:
    async def read(ledger: Ledger, _: LedgerSettings) -> tuple[list[dict[str, Any]], int]:
        count = await ledger.overview.pool_count() if cluster_id is None else 0
        return await read_stats(ledger, cluster_id, limit), count

    rows, count = with_ledger(read)
    if output is Output.json:
        print_json(rows)
    elif rows:
        columns = WIDE if output is Output.wide else COLUMNS
        print_table(None, columns, [[row[column] for column in columns] for row in rows])
    else:
        echo("no operation has ended here yet")
    if count > len(rows) == limit:
        echo(
            f"the {limit} pools used last of {count:,} are shown: --limit shows more, --cluster one cluster's"
        )
    return Exit.SUCCEEDED
