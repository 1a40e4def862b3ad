"""The generated parts of the documentation are up to date."""

from pathlib import Path

import pytest

from config.secret_files import PREFIX
from config.settings import Settings
from docs.generate import generated, settings_table, with_part
from tasks.ledger.record_values import State

FILES = generated()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_code_generates_is_what_the_documentation_has(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make reference`"


def test_the_settings_page_has_a_row_for_each_setting_with_its_default() -> None:
    table = settings_table()

    assert all(f"`{PREFIX}{name.upper()}`" in table for name in Settings.model_fields)
    assert "| `SCALEOUT_POLL_INTERVAL_S` | `5` |" in table
    assert "| `SCALEOUT_SECRET_ACCESS_KEY`, `…_FILE` | required |" in table


def test_the_states_page_has_a_row_for_each_state() -> None:
    (page,) = (text for path, text in FILES.items() if path.name == "how-it-works.md")

    assert all(f"| `{state}` |" in page for state in State)


def test_only_the_text_between_the_marks_is_replaced() -> None:
    assert (
        with_part("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new\n") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    )
    with pytest.raises(ValueError, match="unpack"):
        with_part("no marks", "x", "new")
