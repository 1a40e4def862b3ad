"""The README of wheel and sdist."""

import re

import pytest

from hatch_build import readme_of_the_index, source_url
from tests.support.processes import ROOT

TEXT = "[Redis](docs/how-to/redis.md) [site](https://example.com) [above](#run) ![page](docs/page.png)"


def test_links_are_absolute_where_the_source_is_known() -> None:
    assert readme_of_the_index(TEXT, "https://git.example/x", "1.2") == (
        "[Redis](https://git.example/x/blob/v1.2/docs/how-to/redis.md) [site](https://example.com) "
        "[above](#run) ![page](https://git.example/x/raw/v1.2/docs/page.png)"
    )


def test_without_a_source_only_the_text_stays() -> None:
    readme = readme_of_the_index((ROOT / "README.md").read_text(encoding="utf-8"), None, "1.2")

    assert readme_of_the_index(TEXT, None, "1.2") == "Redis [site](https://example.com) [above](#run) "
    assert re.findall(r"\]\((?!https?://|#)", readme) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SCALEOUT_SOURCE_URL": "https://git.example/x/"}, "https://git.example/x"),
        ({"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b"}, "https://github.com/a/b"),
        ({"GITHUB_SERVER_URL": "https://github.com"}, None),
    ],
)
def test_the_source_is_named_by_a_variable_or_a_workflow(
    environment: dict[str, str], expected: str | None
) -> None:
    assert source_url(environment) == expected
