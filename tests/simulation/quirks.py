"""How a provider answers that keeps to no page: odd rows, other words, other counts, late nodes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Counts = Literal["exactly", "the page", "without filters", "not at all", "as text"]

# Rows of foreign jobs, none of which may hide another row.
ODD_ROWS: tuple[Any, ...] = (
    {"job_id": "j-list", "status": "pending", "error_codes": ["5200", 7]},
    {"job_id": "j-number", "status": "pending", "job_action": 7},
    {"job_id": "j-bare"},
    {"job_id": 7, "status": None, "create_time": {}},
    {"status": "successful"},
    {"job_id": None, "status": "failed"},
    None,
    "j-text",
)


@dataclass
class Quirks:
    """What the provider's listings have of their own.

    Fields:
        counts: what `total_count` counts.
        odd_rows: rows of foreign jobs in a zone's log.
        odd_rows_of_cluster: rows in the log of each cluster that nobody can read.
        words: other words for a job's status.
        role, node_status: what listNodes calls them; None: as everybody does.
        node_lag_s: how late nodes are listed, in seconds.
        hides_nodes: listNodes shows none.
        hides_jobs_until_s: for so long, a cluster's listings do not show a job that an operation has noted.
        resource_ids_as_list: the ids come as a list.
    """

    counts: Counts = "exactly"
    odd_rows: Sequence[Any] = ()
    odd_rows_of_cluster: Sequence[Any] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    node_status: str = "active"
    node_lag_s: float = 0.0
    hides_nodes: bool = False
    hides_jobs_until_s: float = 0.0
    resource_ids_as_list: bool = False

    @classmethod
    def by_chance(cls, rng: random.Random) -> Quirks:
        """Some of them, none that keeps a request from ending."""
        return cls(
            counts=rng.choice(["exactly", "exactly", "exactly", "the page", "without filters", "not at all"]),
            odd_rows=rng.sample(ODD_ROWS, rng.choice([0, 0, 1, 3])),
            odd_rows_of_cluster=rng.choice([(), (), (), (), [{"status": "pending"}]]),
            words=rng.choice(
                [{}, {}, {"failed": "Cancelled", "successful": "SUCCESS", "pending": "Running"}]
            ),
            role=rng.choice([None, None, "Compute"]),
            node_status=rng.choice(["active", "Running"]),
            node_lag_s=rng.choice([0.0, 0.0, 8.0]),
            hides_jobs_until_s=rng.choice([0.0, 0.0, 0.0, 300.0]),
            resource_ids_as_list=rng.random() < 0.2,
        )

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        status = self.words.get(row["status"], row["status"])
        ids = row["resource_ids"]
        return {**row, "status": status, "resource_ids": ids.split() if self.resource_ids_as_list else ids}

    def count(self, *, of_all: int, of_page: int, unfiltered: int) -> Any:
        match self.counts:
            case "exactly":
                return of_all
            case "the page":
                return of_page
            case "without filters":
                return unfiltered
            case "as text":
                return str(of_all)
        return None
