"""Cells are shown in people's words, not in Python's."""

import pytest

from workers.cli.tables import print_table


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (True, "yes"),
        (False, "no"),
        (None, ""),
        ([99, 99, 52], "99, 99, 52"),
        ({"r-1": 2, "r-2": None}, "r-1: 2, r-2:"),
        ({"sent": {"zone": "jn1a"}}, "sent: zone: jn1a"),
        (1.5, "1.5"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
    ],
)
def test_a_cell_has_no_notation_of_python(
    cell: object, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(None, ["field", "value"], [["name", cell]])

    row = capsys.readouterr().out.splitlines()[-2]
    assert row.split("name", 1)[1].strip() == shown
