"""PURE: what speaks against an operator's decision about an operation. Times in ms."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.timestamps import timestamp
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobRow
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.state_machine.decision import Rules, contradiction


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a decision does not fit. `certain`: the provider shows it, so that nobody may overrule it."""

    text: str
    certain: bool = True


def against_adoption(
    operation: Operation,
    row: JobRow | None,
    rules: Rules,
    *,
    job_id: str,
    owner: str | None,
    nodes_counted: int | None = None,
) -> list[Objection]:
    """Return what speaks against assigning a job to the operation.

    Args:
        row: the job in the zone's log; None if the log does not show it.
        owner: the operation that the job is known to belong to.
        nodes_counted: nodes made while it ran, if its row does not name them.
    """
    if owner not in (None, operation.operation_id):
        return [Objection(f"job {job_id} belongs to operation {owner}, and a job has one operation for good")]
    if row is None:
        return [Objection(f"the log of zone {operation.zone} shows no job {job_id}", certain=False)]
    found = []
    if job_id in (operation.baseline or ()):
        found.append(Objection(f"job {job_id} was there before the call was sent"))
    if row.cluster_ids and operation.cluster_id not in row.cluster_ids:
        found.append(Objection(f"job {job_id} is of cluster {', '.join(row.cluster_ids)}"))
    elif not row.cluster_ids:
        found.append(Objection(f"the log does not say of which cluster job {job_id} is", certain=False))
    if not row.job_action:
        found.append(Objection(f"the log does not say what job {job_id} does", certain=False))
    elif row.job_action != rules.job_action and rules.action_seen:
        found.append(Objection(f"the action of job {job_id} is {row.job_action!r}, not {rules.job_action!r}"))
    found += _against_time_and_size(operation, row, rules)
    if nodes_counted is not None:
        found += _against_count(operation, row, nodes_counted)
    elif row.status is JobStatus.PENDING and len(row.node_ids) != operation.node_count:
        shown = f"the log names {len(row.node_ids)} nodes so far, and {operation.node_count} were requested"
        found.append(Objection(f"job {job_id} has not ended: {shown}", certain=False))
    return found


def against_absence(
    operation: Operation,
    candidates: Sequence[JobRow],
    rules: Rules,
    *,
    listed_at: int,
    flaws: Sequence[str],
    own_job: JobRow | None,
) -> list[Objection]:
    """Return what speaks against the decision that the provider never executed the operation.

    Args:
        candidates: jobs of the cluster that may be the operation's.
        listed_at: when the listing began, by the clock that is behind.
        flaws: why the listing is no proof.
        own_job: the job that the operation ran as, if the log shows it.
    """
    job_id, adopted = operation.job_id, operation.doubt is not None
    if own_job is not None and not adopted:
        return [Objection(f"the log shows job {job_id}, which it became by the provider's response")]
    found = []
    if own_job is not None:
        found.append(Objection(f"the log shows job {job_id}, which it has adopted", certain=False))
    elif job_id is not None and not adopted:
        text = f"the provider's response named job {job_id}, although the log does not show it now"
        found.append(Objection(text, certain=False))
    if operation.sent_at is not None and listed_at <= (until := rules.shown_until(operation.sent_at)):
        text = "it may still be executed, or not be in the log yet"
        found.append(Objection(f"{text}, until {timestamp(until)}: try again then"))
    for row in candidates:
        if own_job is not None and row.job_id == own_job.job_id:
            continue
        if row.job_action == rules.job_action or not rules.action_seen:
            # Even one whose time does not fit: a clock may have stepped.
            text = f"job {row.job_id} can be its own: adopt it, unless it is known to be somebody else's"
            found.append(Objection(text, certain=False))
    found += [Objection(f"the log proves nothing: {flaw}", certain=False) for flaw in flaws]
    if operation.state is State.HELD:
        # That its silence proves nothing may be why it is held, and why a person decides.
        return found
    if not rules.action_seen:
        text = f"the log of zone {operation.zone} has never shown a job as {rules.job_action!r}"
        found.append(Objection(f"{text}, so its silence proves nothing", certain=False))
    return found


def _against_time_and_size(operation: Operation, row: JobRow, rules: Rules) -> list[Objection]:
    if operation.sent_at is None or row.create_time is None:
        return [Objection("when it was sent, or the job was made, is not known", certain=False)]
    # What the log has never shown as the action of our jobs may be it: the name is a setting.
    named = row.model_copy(update={"job_action": rules.job_action})
    against = contradiction(operation, named, operation.sent_at, rules)
    if against is None:
        return []
    # Of times it is not certain: a clock may have stepped.
    too_many = len(row.node_ids) > operation.node_count
    return [Objection(f"job {row.job_id} does not fit: {against}", certain=too_many)]


def _against_count(operation: Operation, row: JobRow, nodes_counted: int) -> list[Objection]:
    sent = operation.node_count
    if nodes_counted > sent or (row.status is JobStatus.SUCCESSFUL and nodes_counted != sent):
        text = f"{nodes_counted} nodes were made while job {row.job_id} ran, and {sent} were requested"
        return [Objection(text, certain=False)]
    return []
