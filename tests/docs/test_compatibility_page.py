"""The page of what was tried names tests that exist, and the releases that they try."""

import re

from tests.acceptance.test_producers import KOMBU
from tests.support.processes import ROOT
from tests.support.redis_releases import RELEASES

PAGE = (ROOT / "docs/reference/compatibility.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| part")]


def test_every_row_names_a_test_that_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for row in ROWS:
        test = row.split("|")[-2]
        paths, made = re.findall(r"`(tests/[^`]+)`", test), re.findall(r"`make ([a-z-]+)`", test)
        assert paths or made or test.strip() == "all", row
        assert all((ROOT / path).exists() for path in paths), row
        assert set(made) <= set(targets), row


def test_every_release_that_the_tests_try_is_named() -> None:
    servers, producers = (
        PAGE.split(f"## {title}\n")[1].split("\n## ")[0] for title in ("Servers", "Producers")
    )

    assert all(f"{release}." in servers for release in RELEASES)
    assert all(re.search(rf"\b{re.escape(release)}\.\d", producers) for release in KOMBU)
