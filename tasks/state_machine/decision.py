"""Pure: whether an operation in doubt was carried out, by what the provider's own log shows. Times in ms.

The proof rests on three facts. A call is refused once its signature is older than the provider accepts, so
nothing can be taken after `sent_at` + that time, whoever still holds the call. What was taken is in the log
at most one lag later. And only one operation of ours changes a cluster at a time, so a job that was not
there before, and is none of our others, is this one's or a stranger's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.ehpc.errors import NotAccepted
from tasks.ehpc.models import JobStatus, OperationRow
from tasks.ledger.records import Candidate, Operation

MOST_SKEW_MS = 5_000
WHOLE_SECOND_MS = 1_000
MOST_PENDING_MS = 60_000


class NotTaken(NotAccepted):
    """Proved, or decided by a person: the provider never carried it out."""

    kind = "absent"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the provider accepts a signature, a call may take, and the log may lag."""

    signature_ttl_ms: int
    http_timeout_ms: int
    lag_ms: int
    poll_ms: int

    def taken_until(self, sent_at: int) -> int:
        """After this nothing sent at `sent_at` is carried out any more."""
        return sent_at + self.signature_ttl_ms + MOST_SKEW_MS

    def shown_until(self, sent_at: int) -> int:
        """After this the log shows whatever was carried out."""
        return self.taken_until(sent_at) + self.lag_ms

    def silence_counts_after(self, sent_at: int) -> int:
        """After this a complete listing without the job is evidence that there is none."""
        return self.shown_until(sent_at) + self.http_timeout_ms


@dataclass(frozen=True, slots=True)
class Adopt:
    """The job is this operation's."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider has not taken it and cannot take it any more."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The log cannot decide it."""

    because: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Too early to say. `absent_since`: when a listing first showed nothing, once silence counts."""

    at: int
    absent_since: int | None = None


@dataclass(frozen=True, slots=True)
class CountNodes:
    """The log does not say how many nodes the job has brought, and listNodes may."""

    job: OperationRow


Judgement = Adopt | Absent | Hold | LookAgain | CountNodes


def candidates_of(
    operation: Operation, listing: Sequence[OperationRow], taken: Collection[str]
) -> list[OperationRow]:
    """Jobs that may be the operation's: not there before it was sent, and no other operation's (`taken`)."""
    known = {*(operation.baseline or ()), *taken}
    return [row for row in listing if row.job_id not in known]


def judge(
    operation: Operation,
    candidates: Sequence[OperationRow],
    *,
    listed_at: int,
    timings: Timings,
    job_action: str,
    action_seen: bool,
    nodes_counted: int | None = None,
) -> Judgement:
    """What a complete listing, begun at `listed_at`, says about an operation in doubt.

    `nodes_counted`: nodes made while the one candidate ran, once that has been asked for by CountNodes.

    `action_seen`: whether this zone's log has ever shown a job of ours as `job_action`. A log that never
    has may be silent for other reasons than that there is nothing.
    """
    sent_at = operation.sent_at
    if sent_at is None or operation.baseline is None:
        return Hold("its record does not say when it was sent, or what was there before")
    if len(candidates) > 1:
        ids = ", ".join(row.job_id for row in candidates)
        return Hold(f"{len(candidates)} jobs may be it, and nothing tells which: {ids}")
    if candidates:
        return _one(operation, candidates[0], sent_at, listed_at, timings, job_action, nodes_counted)
    return _none(operation, sent_at, listed_at, timings, job_action, action_seen)


def _one(
    operation: Operation,
    row: OperationRow,
    sent_at: int,
    listed_at: int,
    timings: Timings,
    job_action: str,
    nodes_counted: int | None,
) -> Judgement:
    contradiction = _contradiction(operation, row, sent_at, timings, job_action)
    if contradiction is not None:
        return Hold(f"job {row.job_id} may be it, but {contradiction}")
    if row.status is JobStatus.PENDING:
        patience = min(MOST_PENDING_MS, (listed_at - sent_at) // 10)
        return LookAgain(listed_at + max(timings.poll_ms, patience))
    shown_until = timings.shown_until(sent_at)
    if listed_at <= shown_until:
        # A stranger's job of the same size would leave room for ours to be taken after it.
        return LookAgain(shown_until + 1)
    if row.node_ids:
        return Adopt(row.job_id)
    if nodes_counted is None:
        return CountNodes(row)
    sent = operation.node_count
    fits = nodes_counted == sent if row.status is JobStatus.SUCCESSFUL else nodes_counted <= sent
    if fits:
        return Adopt(row.job_id)
    return Hold(
        f"job {row.job_id} may be it, but {nodes_counted} {operation.node_role} nodes were made "
        f"while it ran, and {sent} were asked for"
    )


def _contradiction(
    operation: Operation, row: OperationRow, sent_at: int, timings: Timings, job_action: str
) -> str | None:
    if row.job_action != job_action:
        return f"its action is {row.job_action!r} and not {job_action!r}"
    if row.create_time is not None:
        created_at = round(row.create_time.timestamp() * 1000)
        if created_at < sent_at - MOST_SKEW_MS - WHOLE_SECOND_MS:
            return "it was made before ours was sent"
        if created_at > timings.taken_until(sent_at) + WHOLE_SECOND_MS:
            return "it was made when ours could not be taken any more"
    nodes, sent = len(row.node_ids), operation.node_count
    if row.status is JobStatus.SUCCESSFUL and nodes not in (0, sent):
        return f"it has brought {nodes} nodes, and {sent} were asked for"
    if nodes > sent:
        return f"it has {nodes} nodes, and {sent} were asked for"
    return None


def _none(
    operation: Operation, sent_at: int, listed_at: int, timings: Timings, job_action: str, action_seen: bool
) -> Judgement:
    counts_after = timings.silence_counts_after(sent_at)
    if listed_at <= counts_after:
        shown_until = timings.shown_until(sent_at)
        return LookAgain((shown_until if listed_at <= shown_until else counts_after) + 1)
    if not action_seen:
        return Hold(
            f"no new job is in the log, but the log of zone {operation.zone} has never shown a job of ours "
            f"as {job_action!r}, so that its silence proves nothing"
        )
    apart = max(timings.lag_ms, WHOLE_SECOND_MS)
    if operation.absent_since is None:
        return LookAgain(listed_at + apart, absent_since=listed_at)
    if listed_at < operation.absent_since + apart:
        return LookAgain(operation.absent_since + apart, absent_since=operation.absent_since)
    return Absent()


def evidence(row: OperationRow) -> Candidate:
    """What is kept of a candidate for whoever decides."""
    created_at = None if row.create_time is None else round(row.create_time.timestamp() * 1000)
    return Candidate(
        job_id=row.job_id,
        job_action=row.job_action,
        status=row.status_text,
        created_at=created_at,
        node_ids=row.node_ids,
    )
