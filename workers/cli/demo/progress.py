"""Where the demo's requests stand: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from workers.cli.commands.status import reason_text
from workers.cli.demo.scenario import Group
from workers.cli.terminal import echo

Statuses = Mapping[str, Mapping[str, Any]]


class Progress(Protocol):
    def show(self, statuses: Statuses) -> None: ...


class Lines:
    """A line whenever something has changed."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._began = time.monotonic()
        self._said: dict[str, str] = {}

    def show(self, statuses: Statuses) -> None:
        for group in self._groups:
            states, nodes, reason = _line(group, statuses)
            text = f"{group.title}: {states}, {nodes}" + (f" ({reason})" if reason else "")
            if self._said.get(group.title) != text:
                self._said[group.title] = text
                echo(f"{time.monotonic() - self._began:5.1f} s  {text}")


class LiveTable:
    def __init__(self, groups: Sequence[Group], live: Live) -> None:
        self._groups = groups
        self._live = live
        self._began = time.monotonic()

    def show(self, statuses: Statuses) -> None:
        table = Table(box=None, pad_edge=False)
        for column in ("request", "state", "nodes", "waits for"):
            table.add_column(column, no_wrap=column == "nodes")
        for group in self._groups:
            table.add_row(group.title, *_line(group, statuses))
        table.caption = f"{time.monotonic() - self._began:.0f} s"
        self._live.update(table)


@contextmanager
def open_progress(groups: Sequence[Group]) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield Lines(groups)
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=True) as live:
        yield LiveTable(groups, live)


def _line(group: Group, statuses: Statuses) -> tuple[str, str, str]:
    known = [statuses[request_id] for request_id in group.ids if request_id in statuses]
    states = Counter(status["state"] for status in known)
    if len(known) < len(group.ids):
        states[group.unseen] = len(group.ids) - len(known)
    words = [state if len(group.ids) == 1 else f"{count} {state}" for state, count in states.items()]
    requested = sum(int(request["node_count"]) for request in group.requests)
    added = sum(status["nodes_added"] for status in known)
    reason = next((reason_text(status["reason"]) for status in known if status["reason"]), "")
    return ", ".join(words), f"{added}/{requested} nodes", reason
