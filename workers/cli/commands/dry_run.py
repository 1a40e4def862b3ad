"""`scaleout submit --dry-run`: what would come of a request."""

from __future__ import annotations

from typing import Any

from workers.cli.exit_codes import Exit
from workers.cli.terminal import print_json, print_table


def print_dry_run(answer: dict[str, Any], *, as_json: bool) -> Exit:
    """On stdout; the exit code says whether the request would be taken in."""
    if as_json:
        print_json(answer)
    else:
        rows = [[name, value] for name, value in _in_words(answer).items() if value not in (None, [])]
        print_table(None, ["field", "value"], rows)
    if (answer["error"] or {}).get("kind") == "conflict":
        return Exit.USAGE
    return Exit.ENDED_OTHERWISE if answer["status"] == "rejected" else Exit.SUCCEEDED


def _in_words(answer: dict[str, Any]) -> dict[str, Any]:
    shown = {
        name: value
        for name, value in answer.items()
        if name not in ("version", "error", "broken_rules", "expected_duration", "expected_calls")
    }
    if answer["error"]:
        shown["error"] = f"{answer['error']['kind']}: {answer['error']['message']}"
    for place, rule in enumerate(answer["broken_rules"], start=1):
        does = "waits for" if rule["waits"] else "breaks"
        shown[f"{does} ({place})"] = rule["message"]
    if expected := answer["expected_duration"]:
        shown["expected_duration"] = (
            f"{expected['p50_s']:g} s, nine times in ten within {expected['p90_s']:g} s "
            f"(by {expected['operations_seen']} operations of its pool)"
        )
    if calls := answer["expected_calls"]:
        following = "unknown" if calls["following"] is None else calls["following"]
        shown["expected_calls"] = (
            f"{calls['submitting']} for submitting, {calls['counting']} for counting nodes, "
            f"{following} for following"
        )
    return shown
