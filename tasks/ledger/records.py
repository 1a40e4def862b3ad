"""The ledger's records. Each carries the version it was read at; a commit writes the next one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from tasks.contract.outcome import OutcomeStatus
from tasks.contract.request import ScaleOutRequest
from tasks.ledger.breakers import Breaker

READ_OF_A_POOL = 128  # requests; an operation serves at most 99


class State(StrEnum):
    """Of an operation; see docs/how-it-works.md for what leads from one to the next."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    IN_DOUBT = "in_doubt"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    ABSENT = "absent"
    ABANDONED = "abandoned"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.REFUSED, State.ABSENT, State.ABANDONED})
WITH_JOB = frozenset({State.RUNNING, State.SUCCEEDED, State.FAILED})


class Record(BaseModel):
    """What all records share. `version` is not stored with the content but beside it, as a field."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = 0

    @property
    def identity(self) -> str:
        """What tells it from other records of its kind."""
        raise NotImplementedError

    def content(self) -> str:
        return self.model_dump_json(exclude={"version"}, exclude_defaults=True)


class Refusal(BaseModel):
    """What was last said against a request or an operation."""

    model_config = ConfigDict(frozen=True)

    kind: str
    message: str
    code: int | None = None


class Share(BaseModel):
    """One operation as seen by one request it serves."""

    model_config = ConfigDict(frozen=True)

    operation_id: str
    node_count: int
    state: State
    job_id: str | None = None
    error_codes: str = ""
    submitted_at: int | None = None
    finished_at: int | None = None
    nodes_added: int = 0
    node_ids: tuple[str, ...] = ()


class Meter(BaseModel):
    """Where nodes are counted for a limit: a running sum over the last `window_s` seconds, or, with 0, until
    they are settled. With a `producer`, only what that one asked for.
    """

    model_config = ConfigDict(frozen=True)

    scope: str
    window_s: int
    producer: str | None = None


class Request(Record):
    """A request and how far it has come. `wanted` nodes are in no operation yet. Times in ms."""

    request_id: str
    asked: ScaleOutRequest | None = None
    fingerprint: str
    accepted_at: int
    deadline_at: int
    wanted: int = 0
    shares: tuple[Share, ...] = ()
    refusals: int = 0
    not_before: int = 0
    streak: int = 0
    most_at_once: int | None = None
    alone: bool = False
    cancelled: bool = False
    last_refusal: Refusal | None = None
    meter: Meter | None = None
    status: OutcomeStatus | None = None
    finished_at: int | None = None

    @property
    def identity(self) -> str:
        return self.request_id

    @property
    def form(self) -> ScaleOutRequest:
        """What was asked for; only a request that was refused as invalid has none."""
        if self.asked is None:
            raise ValueError(f"request {self.request_id} was refused as invalid and has no valid content")
        return self.asked

    @property
    def ended(self) -> bool:
        return self.status is not None

    @property
    def live_shares(self) -> tuple[Share, ...]:
        return tuple(share for share in self.shares if share.state not in ENDED)

    @property
    def nodes_added(self) -> int:
        return sum(share.nodes_added for share in self.shares)

    @property
    def pool(self) -> str:
        return pool_of(self.form)


def pool_of(form: ScaleOutRequest) -> str:
    """Name of the pool: requests of one pool can be bought in one call, if they do not go alone."""
    return _pool_name(_json(form.zone), _json(form.node_role), _json(form.resource_conf))


@lru_cache(maxsize=1_000)
def _pool_name(zone: str, node_role: str, resource_conf: str) -> str:
    return hashlib.sha256(f"[{zone},{node_role},{resource_conf}]".encode()).hexdigest()[:16]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Allocation(BaseModel):
    model_config = ConfigDict(frozen=True)

    request_id: str
    node_count: int
    requested_by: str | None = None


class Doubt(BaseModel):
    """Why nobody knows whether a sending was carried out."""

    model_config = ConfigDict(frozen=True)

    since: int
    reason: str
    http_status: int | None = None
    ret_code: int | None = None


class Candidate(BaseModel):
    """A job that a settlement could not rule out, as the log showed it: evidence for whoever decides."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    job_action: str
    status: str
    created_at: int | None = None
    node_ids: tuple[str, ...] = ()


class Verdict(BaseModel):
    """How the operation log says a job ended, kept until it is known which nodes came.

    `started_at` and `ended_at` are the provider's times, as far as the log gives them.
    """

    model_config = ConfigDict(frozen=True)

    successful: bool
    ended_at: int
    started_at: int | None = None
    error_codes: str = ""
    node_ids: tuple[str, ...] = ()


class Operation(Record):
    """One addNodes call and the job it starts. Sent at most once, ever. Times in ms."""

    operation_id: str
    cluster_id: str
    zone: str
    node_role: str
    state: State
    allocations: tuple[Allocation, ...]
    planned_at: int
    meters: tuple[Meter, ...] = ()
    tries: int = 0
    baseline: tuple[str, ...] | None = None
    listed_since: int | None = None
    sent_at: int | None = None
    body: str | None = None
    job_id: str | None = None
    verdict: Verdict | None = None
    doubt: Doubt | None = None
    candidates: tuple[Candidate, ...] = ()
    absent_since: int | None = None
    held_because: str | None = None
    refusal: Refusal | None = None
    nodes_added: int = 0
    node_ids: tuple[str, ...] = ()
    error_codes: str = ""
    finished_at: int | None = None

    @property
    def identity(self) -> str:
        return self.operation_id

    @property
    def node_count(self) -> int:
        return sum(allocation.node_count for allocation in self.allocations)

    @property
    def request_ids(self) -> tuple[str, ...]:
        return tuple(allocation.request_id for allocation in self.allocations)

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class NodeCount(BaseModel):
    """How many nodes a cluster had at `at` (ms), by listNodes, when `after` was its last operation."""

    model_config = ConfigDict(frozen=True)

    present: int
    at: int
    after: str | None = None


class Cluster(Record):
    """A cluster's gate, and what is known of the cluster. Its version also moves when demand arrives.

    `doubt_since`: when the first operation that was ever in doubt here was sent, in ms. `breakers`: by pool.
    `changed_at`: when an operation last ended here that may have brought nodes, in ms.
    """

    cluster_id: str
    zone: str | None = None
    gate: str | None = None
    doubt_since: int | None = None
    changed_at: int = 0
    not_before: int = 0
    streak: int = 0
    waits_for: Refusal | None = None
    breakers: dict[str, Breaker] = {}
    last_operation: str | None = None
    nodes: NodeCount | None = None

    @property
    def identity(self) -> str:
        return self.cluster_id


class Account(Record):
    """Whether the provider refuses the account, and when that is tried again."""

    refused_since: int | None = None
    not_before: int = 0
    streak: int = 0
    refusal: Refusal | None = None

    @property
    def identity(self) -> str:
        return ""


class Zone(Record):
    """What following has learnt of a zone: `missing` jobs by since when, in ms; `pages` of the last look,
    `rows` of the log that it was to read, and how many a page has; `broken_off_at`: the row from which the
    next look has to go on, for the jobs that were `unseen` till then.

    `action_seen`: the zone's log has shown a job of ours under the name that the settings give its action.
    """

    zone: str
    action_seen: bool = False
    failures: int = 0
    pages: int = 0
    rows: int = 0
    page_rows: int = 100
    broken_off_at: int = 0
    unseen: tuple[str, ...] = ()
    missing: dict[str, int] = {}

    @property
    def identity(self) -> str:
        return self.zone


def give(allocations: Sequence[Allocation], nodes: int) -> list[int]:
    """Give `nodes` to the allocations in their order, none more than it asked for."""
    given = []
    for allocation in allocations:
        part = min(allocation.node_count, nodes)
        given.append(part)
        nodes -= part
    return given
