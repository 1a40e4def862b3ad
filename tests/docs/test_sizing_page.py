"""The example on the sizing page is what the command prints."""

from tests.support.command_line import scaleout
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/how-to/sizing.md").read_text(encoding="utf-8")


def test_the_example_is_what_the_command_prints() -> None:
    command, _, shown = PAGE.split("```\n$ scaleout ")[1].split("```")[0].partition("\n")

    done = scaleout({"PATH": "", "NO_COLOR": "1"}, *command.split())

    assert (done.code, done.err) == (0, "")
    assert done.out.strip() == shown.strip()
