"""The reference pages name what the code has: log events, reasons, exit codes, commands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tasks.contract.outcome import OutcomeStatus
from tasks.state_machine.states import TRANSITIONS
from tests.support.command_line import scaleout
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/status-and-events.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOGGED = {"exception", "debug", "info", "warning", "error", "critical", "event", "_event", "Event", "_log"}


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def first_column(text: str) -> set[str]:
    rows = (line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}


def event_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        for argument in ast.walk(node.args[0]):
            text = getattr(argument, "value", None)
            if (
                name in LOGGED
                and isinstance(text, str)
                and re.fullmatch(r"[a-z]+(_[a-z]+)+|paused|resumed", text)
            ):
                yield text


def test_every_log_event_is_in_the_reference_and_no_other() -> None:
    files = [path for name in ("config", "tasks") for path in (ROOT / name).rglob("*.py")]
    files += [ROOT / "workers/ticker.py", ROOT / "workers/celery.py", ROOT / "workers/remote_control.py"]
    files += [
        path
        for name in ("broker", "cli/commands", "gateway")
        for path in (ROOT / "workers" / name).glob("*.py")
    ]
    found = {name for path in files for name in event_names(path)}
    # The event of a refusal is named by the state that it ends in; a pause's by the record's own event.
    found |= {f"operation_{one.target}" for one in TRANSITIONS if one.module == "refusal"}
    found |= {"paused", "resumed"}

    named = first_column(section("Log events"))
    assert found - named == set(), "in the code and not in the reference"
    assert {name for name in named if name not in _texts(files)} == set(), (
        "in the reference and not in the code"
    )


def _texts(files: list[Path]) -> str:
    states = " ".join(f"operation_{one.target}" for one in TRANSITIONS)
    return " ".join(path.read_text(encoding="utf-8") for path in files) + states


def test_every_reason_of_a_status_is_in_the_reference() -> None:
    code = (ROOT / "tasks/views/status.py").read_text(encoding="utf-8")

    kinds = set(re.findall(r'StatusReason\(\s*"([a-z_]+)"', code))
    assert kinds
    assert kinds <= first_column(section("Status document"))


def test_the_readme_names_every_command_and_every_status() -> None:
    listed = scaleout({"PATH": "", "COLUMNS": "200", "NO_COLOR": "1"}, "--help").out
    commands = set(re.findall(r"^│ ([a-z]+) ", listed, re.MULTILINE))

    (sentence,) = re.findall(r"`scaleout` has (.*?)\. Each", README, re.DOTALL)
    assert set(re.findall(r"`([a-z]+)`", sentence)) == commands
    assert all(f"`{status}`" in README for status in get_args(OutcomeStatus))


def test_every_link_between_pages_leads_to_a_file() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    pages += (ROOT / "docs").rglob("*.md")
    links = [
        (page.relative_to(ROOT), target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert links == []
