"""The evidence about an operation, for the operator who decides about it."""

import json
from collections.abc import Iterable
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Operation


async def read_evidence(ledger: Ledger, operation_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return the evidence about those operations that exist."""
    found = await ledger.operations(operation_ids, readable_only=True)
    return [
        evidence_of(operation, await ledger.overview.held_since(operation.operation_id))
        for operation in found.values()
    ]


def evidence_of(operation: Operation, held_since: int | None) -> dict[str, Any]:
    """Return what was sent and when, which jobs were there before, and which jobs it may have become."""
    return {
        "operation_id": operation.operation_id,
        "state": operation.state.value,
        "held_since": None if held_since is None else timestamp(held_since),
        "reason": operation.held_reason,
        "cluster_id": operation.cluster_id,
        "zone": operation.zone,
        "sent_at": None if operation.sent_at is None else timestamp(operation.sent_at),
        "sent": None if operation.body is None else json.loads(operation.body),
        "node_count": operation.node_count,
        "response": None if operation.doubt is None else operation.doubt.reason,
        "job_id": operation.job_id,
        "baseline": None if operation.baseline is None else list(operation.baseline),
        "candidates": [
            {
                **candidate.model_dump(exclude={"created_at"}),
                "created_at": None if candidate.created_at is None else timestamp(candidate.created_at),
                "nodes": len(candidate.node_ids),
            }
            for candidate in operation.candidates
        ],
        "requests": {part.request_id: part.node_count for part in operation.allocations},
    }
