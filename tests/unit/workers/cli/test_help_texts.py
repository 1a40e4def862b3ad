"""The examples in --help: each is a command that there is, with options that it has."""

import shlex
from typing import Any

import pytest
import typer.main

from workers.cli.help_texts import EXAMPLES
from workers.cli.main import app

WIDTH = 78  # of a terminal of eighty columns
LINES = [line for lines in EXAMPLES.values() for line in lines]
PASSED_ON = ("worker", "simulator")


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_a_command_with_options_that_it_has(line: str) -> None:
    command: Any = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    context = None

    while hasattr(command, "commands"):
        assert arguments[0] in command.commands
        command = command.commands[arguments.pop(0)]
    if command.name not in PASSED_ON:
        context = command.make_context(command.name, arguments)

    assert name == "scaleout"
    assert context is None or not context.args


@pytest.mark.parametrize("line", LINES)
def test_an_example_has_room_in_eighty_columns(line: str) -> None:
    assert len(line) <= WIDTH


def test_every_command_has_an_example() -> None:
    commands: Any = typer.main.get_command(app)
    groups = {name: group for name, group in commands.commands.items() if hasattr(group, "commands")}
    names = set(commands.commands) - set(groups)
    for group, found in groups.items():
        names |= {
            f"{group} {name}" if group in ("dead-letters", "gateway", "ledger", "webhooks") else name
            for name in found.commands
        }

    assert names == set(EXAMPLES)
