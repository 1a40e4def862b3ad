"""How long a pool's operations take, and how many of them fail."""

from collections.abc import Sequence
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.durations import Duration, percentile
from tasks.ledger.pools import Pool


def pool_stats(pool: Pool, durations: Sequence[Duration]) -> dict[str, Any]:
    """Return statistics of at most the last hundred operations; durations are of those that succeeded."""
    succeeded = [one.ms for one in durations if one.ok]
    failed = sum(not one.ok for one in durations)
    return {
        "cluster_id": pool.cluster_id,
        "zone": pool.zone,
        "node_role": pool.node_role,
        "resource_conf": pool.resource_conf,
        "operations": len(durations),
        "failed": failed,
        "failure_rate": round(failed / len(durations), 4) if durations else None,
        "p50_s": _seconds(percentile(succeeded, 0.5)),
        "p90_s": _seconds(percentile(succeeded, 0.9)),
        "nodes_added": sum(one.nodes for one in durations),
        "since": timestamp(durations[0].at) if durations else None,
        "until": timestamp(durations[-1].at) if durations else None,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
