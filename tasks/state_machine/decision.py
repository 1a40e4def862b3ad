"""PURE: what the operation log says about an operation in doubt. Times in ms.

The proof of absence rests on three facts. The provider refuses a call once its signature is older than it
accepts, so nothing is executed after `sent_at` plus that time, whichever process still holds the call. The
log shows what was executed at most one lag later. And only one operation of ours changes a cluster at a time,
so a job that was not there before, and is none of our others, is this operation's or a foreign one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.ehpc.errors import NotAccepted
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobRow
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.ledger.record_values import Candidate
from tasks.ledger.records import Operation

MAX_SKEW_MS = round(MAX_SKEW_S * 1000)
WHOLE_SECOND_MS = 1_000
MAX_PENDING_MS = 60_000
MAX_FLAWED_MS = 300_000


class ProvenNotExecuted(NotAccepted):
    """The provider never executed the call: proven, or decided by an operator."""

    kind = "not_executed"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decision rests on.

    Fields:
        signature_ttl_ms: how long the provider accepts a signature.
        http_timeout_ms: how long a call may take.
        lag_ms: how late a job may appear in the log.
        poll_ms: minimum interval between polls.
        job_action: the log's name for jobs of addNodes.
        action_seen: whether this zone's log has ever shown a job under that name.
    """

    signature_ttl_ms: int
    http_timeout_ms: int
    lag_ms: int
    poll_ms: int
    job_action: str
    action_seen: bool

    def executed_until(self, sent_at: int) -> int:
        """After this no call sent at `sent_at` is executed any more."""
        return sent_at + self.signature_ttl_ms + MAX_SKEW_MS

    def shown_until(self, sent_at: int) -> int:
        """After this the log shows every call that was executed."""
        return self.executed_until(sent_at) + self.lag_ms

    def silence_counts_after(self, sent_at: int) -> int:
        """After this a complete listing without the job is evidence that there is none."""
        return self.shown_until(sent_at) + self.http_timeout_ms


@dataclass(frozen=True, slots=True)
class Adopt:
    """The job is this operation's."""

    job_id: str


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """The provider has not executed the call and cannot execute it any more."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The log cannot decide it."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Too early to decide. `absent_since`: when a listing first showed no job, once silence counts."""

    at: int
    absent_since: int | None = None


@dataclass(frozen=True, slots=True)
class NeedsNodeCount:
    """The log does not say how many nodes the job has added, and listNodes may."""

    job: JobRow


@dataclass(frozen=True, slots=True)
class NeedsZoneListing:
    """No job of ours is known in the zone; a foreign job under our action name proves that name too."""


Decision = Adopt | NotExecuted | Hold | RetryAt | NeedsNodeCount | NeedsZoneListing


def clock_flaws(skew_s: float | None, steady_ms: int, sent_at: int | None, rules: Rules) -> list[str]:
    """Return why times prove nothing now.

    Args:
        skew_s: how far the provider's clock was ahead of ours at the listing; None if it did not say.
        steady_ms: for how long our clock has run without being set.
    """
    found = []
    if skew_s is not None and abs(skew_s) > MAX_SKEW_S:
        found.append(f"the provider's clock was {skew_s:+.0f} s from ours at the listing")
    if sent_at is not None and steady_ms < rules.shown_until(0):
        found.append(f"this worker has known the time for {steady_ms // 1000} s only")
    return found


def candidates_of(
    operation: Operation, listing: Sequence[JobRow], owned_by_others: Collection[str]
) -> list[JobRow]:
    """Return the jobs that can be the operation's: not there before it was sent, and no other's."""
    known = {*(operation.baseline or ()), *owned_by_others}
    return [row for row in listing if row.job_id not in known]


def vanished(
    operation: Operation, listing: Sequence[JobRow], owned_by_others: Collection[str]
) -> list[Candidate]:
    """Return what an earlier listing has shown as a candidate, and this one does not: it is no proof then."""
    shown = {row.job_id for row in listing}
    return [one for one in operation.candidates if one.job_id not in {*shown, *owned_by_others}]


def hides(gone: Sequence[Candidate]) -> list[str]:
    """Return why a listing that lacks these candidates proves nothing."""
    return [f"it does not show job {one.job_id} any more, which can be its own" for one in gone]


def decide(
    operation: Operation,
    candidates: Sequence[JobRow],
    rules: Rules,
    *,
    listed_at: int,
    flaws: Sequence[str] = (),
    overdue: bool = False,
    nodes_counted: int | None = None,
    zone_listed: bool = False,
) -> Decision:
    """Return what a listing says about an operation in doubt.

    Args:
        listed_at: when the listing began.
        flaws: why the listing is no proof; without flaws it is complete.
        overdue: the deadlines of its requests passed so long ago that an operator has to decide.
        nodes_counted: nodes made while the one candidate ran, after NeedsNodeCount.
        zone_listed: the zone's log was listed, after NeedsZoneListing.
    """
    sent_at = operation.sent_at
    if sent_at is None or operation.baseline is None:
        return Hold("its record does not say when it was sent, or which jobs were there before")
    if flaws:
        if overdue:
            return Hold(f"the operation log proves nothing: {'; '.join(flaws)}")
        return _later(sent_at, rules, listed_at, MAX_FLAWED_MS)
    if len(candidates) > 1:
        ids = ", ".join(row.job_id for row in candidates)
        return Hold(f"{len(candidates)} jobs can be its own, and nothing shows which: {ids}")
    if candidates:
        row = candidates[0]
        return _with_candidate(operation, row, sent_at, rules, listed_at, overdue, nodes_counted)
    return _without_candidate(operation, sent_at, rules, listed_at, zone_listed)


def _later(sent_at: int, rules: Rules, listed_at: int, max_ms: int = MAX_PENDING_MS) -> RetryAt:
    patience = min(max_ms, (listed_at - sent_at) // 10)
    return RetryAt(listed_at + max(rules.poll_ms, patience))


def _with_candidate(
    operation: Operation,
    row: JobRow,
    sent_at: int,
    rules: Rules,
    listed_at: int,
    overdue: bool,
    nodes_counted: int | None,
) -> Decision:
    against = contradiction(operation, row, sent_at, rules)
    if against is not None:
        return Hold(f"job {row.job_id} can be its own, but {against}")
    if row.status is JobStatus.PENDING:
        if overdue:
            return Hold(f"job {row.job_id} can be its own, but it does not end: {row.status_text!r}")
        return _later(sent_at, rules, listed_at)
    shown_until = rules.shown_until(sent_at)
    if listed_at <= shown_until:
        # A foreign job of the same size would leave room for ours to be executed after it.
        return RetryAt(shown_until + 1)
    if row.node_ids:
        return Adopt(row.job_id)
    if nodes_counted is None:
        return NeedsNodeCount(row)
    sent = operation.node_count
    fits = nodes_counted == sent if row.status is JobStatus.SUCCESSFUL else nodes_counted <= sent
    if fits:
        return Adopt(row.job_id)
    return Hold(
        f"job {row.job_id} can be its own, but {nodes_counted} {operation.node_role} nodes were made "
        f"while it ran, and {sent} were requested"
    )


def contradiction(operation: Operation, row: JobRow, sent_at: int, rules: Rules) -> str | None:
    """Return in what a job differs from what was sent; None if it can be the operation's."""
    if row.job_action != rules.job_action:
        return f"its action is {row.job_action!r} and not {rules.job_action!r}"
    if row.create_time is None:
        if not operation.baseline_complete:
            return "the log does not say when it was made, and could not be read whole before the call"
    else:
        created_at = round(row.create_time.timestamp() * 1000)
        if created_at < sent_at - MAX_SKEW_MS - WHOLE_SECOND_MS:
            return "it was made before the call was sent"
        if created_at > rules.executed_until(sent_at) + WHOLE_SECOND_MS:
            return "it was made when the call could not be executed any more"
    nodes, sent = len(row.node_ids), operation.node_count
    if row.status is JobStatus.SUCCESSFUL and nodes not in (0, sent):
        return f"it has added {nodes} nodes, and {sent} were requested"
    if nodes > sent:
        return f"it has {nodes} nodes, and {sent} were requested"
    return None


def _without_candidate(
    operation: Operation, sent_at: int, rules: Rules, listed_at: int, zone_listed: bool
) -> Decision:
    counts_after = rules.silence_counts_after(sent_at)
    if listed_at <= counts_after:
        shown_until = rules.shown_until(sent_at)
        return RetryAt((shown_until if listed_at <= shown_until else counts_after) + 1)
    if not rules.action_seen:
        if not zone_listed:
            return NeedsZoneListing()
        return Hold(
            f"the log shows no new job, but the log of zone {operation.zone} has never shown a job "
            f"as {rules.job_action!r}, so its silence proves nothing"
        )
    apart = max(rules.lag_ms, WHOLE_SECOND_MS)
    if operation.absent_since is None:
        return RetryAt(listed_at + apart, absent_since=listed_at)
    if listed_at < operation.absent_since + apart:
        return RetryAt(operation.absent_since + apart, absent_since=operation.absent_since)
    return NotExecuted()


def evidence(row: JobRow) -> Candidate:
    """Return what is kept of a candidate for the operator who decides."""
    created_at = None if row.create_time is None else round(row.create_time.timestamp() * 1000)
    return Candidate(
        job_id=row.job_id,
        job_action=row.job_action,
        status=row.status_text,
        created_at=created_at,
        node_ids=row.node_ids,
    )
