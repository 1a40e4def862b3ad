"""`scaleout submit`."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from config.settings import LedgerSettings, QuotaSettings, load
from tasks.contract.policy_file import open_policy
from tasks.contract.request import InvalidRequest, ScaleOutRequest, parse_request
from tasks.engine.wiring import open_intake
from tasks.intake.accept import Accepted, Ended
from tasks.intake.dry_run import invalid
from tasks.ledger.ledger import Ledger
from workers.cli.commands.status import print_details, read_document, wait_for_outcome
from workers.cli.exit_codes import Exit, for_state
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, echo_problems, print_json, refuse

IN_OTHER_WORDS = frozenset(
    {"version", "error", "broken_rules", "expected_duration", "expected_calls", "blocked_by"}
)

OPTIONS = {
    "request_id": "--request-id",
    "cluster_id": "--cluster",
    "zone": "--zone",
    "node_count": "--nodes",
    "node_role": "--role",
    "node_name": "--name",
    "private_ips": "--ip",
    "resource_conf": "--resource-conf",
    "deadline_s": "--deadline",
    "not_before": "--not-before",
    "on_shortage": "--on-shortage",
    "requested_by": "--requested-by",
}


def submit_request(
    fields: Mapping[str, Any],
    resource_conf: str | None,
    wait_for_end: bool,
    timeout_s: float | None,
    *,
    as_json: bool,
) -> Exit:
    """Check first, then write: an invalid request is refused here, and nothing is stored."""
    dry_run = fields.get("dry_run") is True
    if timeout_s is not None and not wait_for_end:
        return refuse("--timeout needs --wait", Exit.USAGE, as_json=as_json)
    try:
        spec = _parse(fields, resource_conf)
    except InvalidRequest as error:
        if as_json and dry_run:
            print_json(invalid(fields, error.problems).model_dump(mode="json"))
        echo_problems([*map(by_option, error.problems)], as_json=as_json and not dry_run)
        return Exit.USAGE

    async def write(ledger: Ledger, settings: LedgerSettings) -> Accepted | Ended:
        poll_interval_s = load(QuotaSettings).poll_interval_s
        intake = open_intake(settings, ledger, open_policy(settings), poll_interval_s=poll_interval_s)
        try:
            return await intake.accept(spec, None)
        except (RedisError, OSError):
            if not (as_json or dry_run):
                name = spec.request_id
                echo(f"request {name} may have been accepted: send it again with --request-id {name}")
            raise

    answer = with_ledger(write)
    if dry_run and isinstance(answer, Ended):
        return _print_dry_run(answer.outcome, as_json=as_json)
    if isinstance(answer, Ended) and (answer.outcome["error"] or {}).get("kind") == "conflict":
        echo_problems([answer.outcome["error"]["message"]], as_json=as_json, kind="conflict")
        return Exit.USAGE
    if wait_for_end and isinstance(answer, Accepted):
        echo(f"{spec.request_id} accepted")
        return wait_for_outcome(spec.request_id, timeout_s, as_json=as_json)
    found = with_ledger(lambda ledger, _: read_document(ledger, spec.request_id)) if as_json else None
    if found is not None:
        print_json(found)
    elif isinstance(answer, Ended):
        print_details(answer.outcome)
    else:
        print(spec.request_id)  # noqa: T201
    return for_state(answer.outcome["status"]) if isinstance(answer, Ended) else Exit.SUCCEEDED


def by_option(problem: str) -> str:
    """Return a problem of a field with the name of its option."""
    name = problem.partition("=")[0].partition(" ")[0].partition("[")[0]
    return f"{problem} ({OPTIONS[name]})" if name in OPTIONS else problem


def _parse(fields: Mapping[str, Any], resource_conf: str | None) -> ScaleOutRequest:
    given = {name: value for name, value in fields.items() if value is not None}
    given.setdefault("request_id", str(uuid.uuid4()))
    problems: list[str] = []
    if resource_conf is not None:
        try:
            given["resource_conf"] = json.loads(resource_conf)
        except ValueError as error:
            problems.append(f"resource_conf is not JSON: {error}")
        except RecursionError:
            problems.append("resource_conf is nested too deeply")
    try:
        spec = parse_request(given)
    except InvalidRequest as error:
        raise InvalidRequest(problems + error.problems) from None
    if problems:
        raise InvalidRequest(problems)
    return spec


def _print_dry_run(answer: dict[str, Any], *, as_json: bool) -> Exit:
    """Print the answer; the exit code says whether the request would be accepted."""
    if as_json:
        print_json(answer)
    else:
        rows = [[name, value] for name, value in _in_words(answer).items() if value not in (None, [])]
        print_table(None, ["field", "value"], rows)
    if (answer["error"] or {}).get("kind") == "conflict":
        return Exit.USAGE
    return Exit.FAILED if answer["status"] == "rejected" else Exit.SUCCEEDED


def _in_words(answer: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in answer.items() if name not in IN_OTHER_WORDS}
    if answer["error"]:
        shown["error"] = f"{answer['error']['kind']}: {answer['error']['message']}"
    for place, rule in enumerate(answer["broken_rules"], start=1):
        does = "waits for" if rule["waits"] else "breaks"
        shown[f"{does} ({place})"] = rule["message"]
    for place, text in enumerate(answer["blocked_by"], start=1):
        shown[f"blocked ({place})"] = text
    if expected := answer["expected_duration"]:
        shown["expected_duration"] = (
            f"{expected['p50_s']:g} s, nine times in ten within {expected['p90_s']:g} s "
            f"(by {expected['operations_seen']} operations of its pool)"
        )
    if calls := answer["expected_calls"]:
        polling = "unknown" if calls["polling"] is None else calls["polling"]
        shown["expected_calls"] = (
            f"{calls['submitting']} for submitting, {calls['counting']} for counting nodes, "
            f"{polling} for polling"
        )
    return shown
