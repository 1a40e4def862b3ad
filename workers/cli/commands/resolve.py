"""`scaleout resolve`: a person decides what the provider's log cannot."""

from __future__ import annotations

from typing import Any

from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import State
from tasks.ledger.snapshots import Scene
from tasks.ledger.transactions import MOST_CONTENTION, Contention, tell
from tasks.state_machine.resolution import CannotResolve, adopt, evidence_of, never_happened
from workers.cli.exit_codes import Exit
from workers.cli.person import confirm, name_of_user
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say


def resolve_held(
    name: str,
    *,
    adopt_job: str | None,
    absent: bool,
    why: str | None,
    by: str | None,
    confirmed: bool,
    as_json: bool,
) -> Exit:
    """`name`: an operation, or a request whose held operation is meant."""
    if adopt_job is not None and absent:
        say("scaleout: --adopt and --never-happened contradict each other: give one of them")
        return Exit.USAGE
    found = with_ledger(lambda ledger, _: _held(ledger, name))
    if not found and as_json:
        print_json([])
    if found is None:
        say(f"scaleout: no operation or request {name} is known here")
        return Exit.NO_SUCH_REQUEST
    if not found:
        say(f"scaleout: request {name} has no held operation: there is nothing to decide")
        return Exit.USAGE
    deciding = adopt_job is not None or absent
    if not (as_json and deciding):
        _show(found, as_json=as_json)
    if not deciding:
        say("decide with --adopt JOB_ID, or with --never-happened if no job was ever made of it")
        return Exit.SUCCEEDED
    if len(found) > 1:
        ids = ", ".join(evidence["operation_id"] for evidence in found)
        say(f"scaleout: {len(found)} operations are held, name the one that is meant: {ids}")
        return Exit.USAGE
    operation_id = found[0]["operation_id"]
    if not confirmed and not confirm(_question(found[0], adopt_job)):
        return Exit.USAGE
    try:
        with_ledger(lambda ledger, _: _decide(ledger, operation_id, adopt_job, by or name_of_user(), why))
    except CannotResolve as error:
        say(f"scaleout: {error}")
        return Exit.USAGE
    done = with_ledger(lambda ledger, _: _evidence(ledger, [operation_id]))
    if as_json:
        print_json(done[0])
    say(f"operation {operation_id} is {done[0]['state']}")
    return Exit.SUCCEEDED


async def _held(ledger: Ledger, name: str) -> list[dict[str, Any]] | None:
    if await ledger.operation(name) is not None:
        return await _evidence(ledger, [name])
    request = await ledger.request(name)
    if request is None:
        return None
    ids = [share.operation_id for share in request.shares if share.state is State.HELD]
    return await _evidence(ledger, ids)


async def _evidence(ledger: Ledger, operation_ids: list[str]) -> list[dict[str, Any]]:
    found = await ledger.operations(operation_ids)
    return [
        evidence_of(operation, await ledger.overview.held_since(operation.operation_id))
        for operation in found.values()
    ]


async def _decide(ledger: Ledger, operation_id: str, adopt_job: str | None, by: str, why: str | None) -> None:
    for _ in range(MOST_CONTENTION):
        scene = await ledger.scene(operation_id)
        if scene is None:
            raise CannotResolve(f"operation {operation_id} is gone")
        changes = await _decision(ledger, scene, adopt_job, by, why)
        if await ledger.commit(changes) is Committed.OK:
            tell(changes)
            return
    raise Contention(f"operation {operation_id} was changed by others again and again")


async def _decision(ledger: Ledger, scene: Scene, adopt_job: str | None, by: str, why: str | None) -> Changes:
    operation, cluster, now = scene.operation, scene.cluster, ledger.clock.now_ms()
    if adopt_job is not None:
        owners = await ledger.jobs(operation.cluster_id)
        return adopt(operation, scene.served, cluster, owners, job_id=adopt_job, by=by, why=why, now=now)
    return never_happened(operation, scene.served, cluster, scene.account, by=by, why=why, now=now)


def _question(evidence: dict[str, Any], adopt_job: str | None) -> str:
    nodes, cluster_id = evidence["node_count"], evidence["cluster_id"]
    if adopt_job is not None:
        return f"Job {adopt_job} is what became of these {nodes} nodes for {cluster_id}?"
    return f"No job was made of it, and {nodes} nodes for {cluster_id} may be bought again?"


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
            columns = ("job_id", "job_action", "status", "created_at", "nodes")
            candidates = [[row[column] for column in columns] for row in evidence["candidates"]]
            print_table("Jobs that may be it", columns, candidates)
