"""`scaleout resolve`: an operator decides what the operation log cannot."""

from dataclasses import dataclass
from typing import Any

from tasks.engine.decide import Checked, check, decide, refusals
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import State
from tasks.state_machine.resolution import CannotResolve
from tasks.views.held_operations import read_evidence
from workers.cli.exit_codes import Exit
from workers.cli.session import provider_of, with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import confirm, echo, echo_problems, print_json, refuse, user_name

CANDIDATE_COLUMNS = ("job_id", "job_action", "status", "created_at", "nodes")


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of the command. Without `adopt_job` and `not_executed` the evidence is only shown."""

    adopt_job: str | None
    not_executed: bool
    reason: str | None
    by: str | None
    confirmed: bool
    force: bool = False

    @property
    def decides(self) -> bool:
        return self.adopt_job is not None or self.not_executed


def resolve_held(name: str, choice: Choice, *, as_json: bool) -> Exit:
    """Show or decide. `name`: an operation, or a request whose held operation is meant."""
    if choice.adopt_job is not None and choice.not_executed:
        problem = "--adopt and --not-executed contradict each other: use one of them"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    found = with_ledger(lambda ledger, _: _held(ledger, name))
    if found is None:
        return refuse(f"no operation or request {name} is known here", Exit.NOT_FOUND, as_json=as_json)
    if not found:
        problem = f"request {name} has no held operation: there is nothing to decide"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    if not (as_json and choice.decides):
        _show(found, as_json=as_json)
    if not choice.decides:
        echo("decide with --adopt JOB_ID, or with --not-executed if the provider made no job of it")
        return Exit.SUCCEEDED
    if len(found) > 1:
        ids = ", ".join(evidence["operation_id"] for evidence in found)
        problem = f"{len(found)} operations are held, name one of them: {ids}"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    operation_id = found[0]["operation_id"]
    checked = with_ledger(lambda ledger, _: _check(ledger, operation_id, choice.adopt_job))
    if refused := refusals(checked.objections, force=choice.force, option="--force"):
        echo_problems(refused, as_json=as_json)
        return Exit.USAGE
    if not choice.confirmed and not confirm(_question(found[0], choice.adopt_job)):
        return Exit.USAGE
    try:
        by = choice.by or user_name()
        with_ledger(
            lambda ledger, _: decide(
                ledger, operation_id, choice.adopt_job, checked, by=by, reason=choice.reason
            )
        )
    except CannotResolve as error:
        return refuse(str(error), Exit.USAGE, as_json=as_json)
    done = with_ledger(lambda ledger, _: read_evidence(ledger, [operation_id]))
    if as_json:
        print_json(done[0])
    echo(f"operation {operation_id} is {done[0]['state']}")
    return Exit.SUCCEEDED


async def _check(ledger: Ledger, operation_id: str, adopt_job: str | None) -> Checked:
    """Compare the decision with the provider's log."""
    async with provider_of(ledger) as ctx:
        return await check(ctx, operation_id, adopt_job)


async def _held(ledger: Ledger, name: str) -> list[dict[str, Any]] | None:
    if await ledger.operation(name) is not None:
        return await read_evidence(ledger, [name])
    request = await ledger.request(name)
    if request is None:
        return None
    held = (part.operation_id for part in request.assignments if part.state is State.HELD)
    return await read_evidence(ledger, list(held))


def _question(evidence: dict[str, Any], adopt_job: str | None) -> str:
    nodes, cluster_id = evidence["node_count"], evidence["cluster_id"]
    if adopt_job is not None:
        return f"Did these {nodes} nodes for {cluster_id} become job {adopt_job}?"
    return f"Was no job made of it, and may {nodes} nodes for {cluster_id} be bought again?"


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for evidence in found:
        rows = [(name, value) for name, value in evidence.items() if name not in ("candidates", "baseline")]
        baseline = evidence["baseline"]
        rows.append(("baseline", "none" if baseline is None else f"{len(baseline)} jobs were there before"))
        print_table(None, ("field", "value"), [row for row in rows if row[1] is not None])
        if evidence["candidates"]:
            candidates = [[row[column] for column in CANDIDATE_COLUMNS] for row in evidence["candidates"]]
            print_table("Jobs that it may have become", CANDIDATE_COLUMNS, candidates)
