"""`scaleout submit`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from config.settings import LedgerSettings, QuotaSettings, load
from tasks.contract.policy_file import open_policy
from tasks.contract.request import InvalidRequest, ScaleOutRequest, parse_request
from tasks.engine.wiring import open_intake
from tasks.intake.accept import Accepted, Ended
from tasks.intake.dry_run import invalid
from tasks.ledger.ledger import Ledger
from workers.cli.commands.dry_run import print_dry_run
from workers.cli.commands.status import print_outcome, wait_for_outcome
from workers.cli.exit_codes import Exit, for_state
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, say


def submit_request(
    fields: Mapping[str, Any],
    resource_conf: str | None,
    wait_for_end: bool,
    timeout_s: float | None,
    *,
    as_json: bool,
) -> Exit:
    """Check first, then write: an invalid request is refused here and nothing is stored."""
    dry_run = fields.get("dry_run") is True
    if timeout_s is not None and not wait_for_end:
        say("scaleout: --timeout says how long to wait: give --wait too")
        return Exit.USAGE
    try:
        form = _parse(fields, resource_conf)
    except InvalidRequest as error:
        if as_json and dry_run:
            print_json(invalid(fields, error.problems).model_dump(mode="json"))
        elif as_json:
            print_json({"error": {"kind": "invalid", "problems": error.problems}})
        for problem in error.problems:
            say(f"scaleout: {problem}")
        return Exit.USAGE

    async def write(ledger: Ledger, settings: LedgerSettings) -> Accepted | Ended:
        poll_interval_s = load(QuotaSettings).poll_interval_s
        intake = open_intake(settings, ledger, open_policy(settings), poll_interval_s=poll_interval_s)
        return await intake.accept(form, None)

    answer = with_ledger(write)
    if dry_run and isinstance(answer, Ended):
        return print_dry_run(answer.outcome, as_json=as_json)
    if isinstance(answer, Ended):
        return _already_over(answer.outcome, as_json=as_json)
    if wait_for_end:
        say(f"{form.request_id} accepted")
        return wait_for_outcome(form.request_id, timeout_s, as_json=as_json)
    if as_json:
        print_json({"request_id": form.request_id, "state": "waiting"})
    else:
        print(form.request_id)  # noqa: T201
    return Exit.SUCCEEDED


def _already_over(outcome: dict[str, Any], *, as_json: bool) -> Exit:
    error = outcome["error"] or {}
    if error.get("kind") != "conflict":
        print_outcome(outcome, as_json=as_json)
        return for_state(outcome["status"])
    if as_json:
        print_json(outcome)
    say(f"scaleout: {error['message']}")
    return Exit.USAGE


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
        form = parse_request(given)
    except InvalidRequest as error:
        raise InvalidRequest(problems + error.problems) from None
    if problems:
        raise InvalidRequest(problems)
    return form
