"""Where the demo's requests stand: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from workers.cli.demo.scenario import Group
from workers.cli.terminal import say

Standings = Mapping[str, Mapping[str, Any]]


class Progress(Protocol):
    def show(self, standings: Standings) -> None: ...


class Lines:
    """A line whenever something has changed."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._began = time.monotonic()
        self._said: dict[str, str] = {}

    def show(self, standings: Standings) -> None:
        for group in self._groups:
            states, nodes, why = _line(group, standings)
            text = f"{group.title}: {states}, {nodes}" + (f" ({why})" if why else "")
            if self._said.get(group.title) != text:
                self._said[group.title] = text
                say(f"{time.monotonic() - self._began:5.1f} s  {text}")


class LiveTable:
    def __init__(self, groups: Sequence[Group], live: Live) -> None:
        self._groups = groups
        self._live = live
        self._began = time.monotonic()

    def show(self, standings: Standings) -> None:
        table = Table(box=None, pad_edge=False)
        for column in ("request", "state", "nodes", "waits for"):
            table.add_column(column, no_wrap=column == "nodes")
        for group in self._groups:
            table.add_row(group.title, *_line(group, standings))
        table.caption = f"{time.monotonic() - self._began:.0f} s"
        self._live.update(table)


@contextmanager
def open_progress(groups: Sequence[Group]) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield Lines(groups)
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=True) as live:
        yield LiveTable(groups, live)


def _line(group: Group, standings: Standings) -> tuple[str, str, str]:
    known = [standings[request_id] for request_id in group.ids if request_id in standings]
    states = Counter(standing["state"] for standing in known)
    if len(known) < len(group.ids):
        states[group.unseen] = len(group.ids) - len(known)
    words = [state if len(group.ids) == 1 else f"{count} {state}" for state, count in states.items()]
    asked = sum(int(request["node_count"]) for request in group.requests)
    added = sum(standing["nodes_added"] for standing in known)
    why = next((str(standing["why"]) for standing in known if standing["why"]), "")
    return ", ".join(words), f"{added}/{asked} nodes", why
