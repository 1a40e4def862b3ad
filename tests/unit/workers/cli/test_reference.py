"""The documentation says what the code says."""

from pathlib import Path

from config.settings import PREFIX, Settings
from workers.cli.commands.reference import settings_table, with_settings

ROOT = Path(__file__).resolve().parents[4]


def test_the_readme_lists_every_setting_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert readme == with_settings(readme), "run `make reference`"


def test_the_table_has_a_row_for_each_setting_with_its_default() -> None:
    table = settings_table()

    assert all(f"`{PREFIX}{name.upper()}`" in table for name in Settings.model_fields)
    assert "| `SCALEOUT_POLL_INTERVAL_S` | `5` |" in table
    assert "| `SCALEOUT_SECRET_ACCESS_KEY`, `…_FILE` | must be set |" in table
