"""`scaleout policy check` and `scaleout policy show`."""

from pathlib import Path
from typing import Any

from config.policy.file import PolicyError
from config.policy.model import Limits, Policy
from config.settings import LedgerSettings, load
from tasks.contract.policy_file import read_policy
from workers.cli.exit_codes import Exit
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

NOTHING = "nothing is limited, everything is allowed, nothing is scheduled"


def check_policy(path: Path, *, as_json: bool) -> Exit:
    try:
        policy, problems = read_policy(path), []
    except PolicyError as error:
        policy, problems = Policy(), error.problems
    if as_json:
        print_json({"file": str(path), "problems": problems, "schedules": [s.name for s in policy.schedules]})
    for problem in problems:
        echo(f"{path}: {problem}")
    if problems:
        echo(f"scaleout: {path} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}")
        return Exit.USAGE
    echo(f"{path} is valid: {len(_rules(policy))} rules, {len(policy.schedules)} schedules")
    return Exit.SUCCEEDED


def show_policy(*, as_json: bool) -> Exit:
    """Show the policy. Raises SettingsError, or PolicyError for a broken file."""
    path = load(LedgerSettings).policy_file
    policy = Policy() if path is None else read_policy(path)
    if as_json:
        print_json({"file": None if path is None else str(path), **as_data(policy)})
        return Exit.SUCCEEDED
    if path is None:
        echo(f"SCALEOUT_POLICY_FILE is not set: {NOTHING}")
        return Exit.SUCCEEDED
    rows = [
        *_rules(policy),
        *((f'schedule."{s.name}"', _words(s.model_dump(mode="json"))) for s in policy.schedules),
    ]
    print_table(str(path), ("rule", "value"), rows)
    if not rows:
        echo(NOTHING)
    return Exit.SUCCEEDED


def as_data(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON, with every default written out."""
    data: dict[str, Any] = policy.model_dump(mode="json")
    for schedule, known in zip(data["schedules"], policy.schedules, strict=True):
        schedule |= {"requested_by": known.producer, "node_role": known.role}
    return data


def _rules(policy: Policy) -> list[tuple[str, str]]:
    limits = policy.limits
    tables: list[tuple[str, Limits]] = [("limits", limits)]
    tables += [(f'limits.clusters."{name}"', table) for name, table in limits.clusters.items()]
    tables += [(f'limits.producers."{name}"', table) for name, table in limits.producers.items()]
    rules = [
        (f"{where}.{name}", f"{value}, excess waits" if table.wait else str(value))
        for where, table in tables
        for name in Limits.model_fields
        if name != "wait" and (value := getattr(table, name)) is not None
    ]
    for name, globs in policy.allow:
        if globs is not None:
            rules.append((f"allow.{name}", ", ".join(globs)))
    return rules


def _words(fields: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value}" for name, value in fields.items() if value not in (None, []) and name != "name"
    )
