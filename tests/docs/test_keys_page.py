"""Every family of keys is on the page about Redis, with what bounds it."""

import re

from config.celery_options import celery_options
from config.settings import LedgerSettings
from tasks.ledger.change_entries import Index
from tasks.ledger.copied_families import AFTER, BEFORE, BETWEEN, FIRST, LAST, LEFT_OUT
from tasks.ledger.keys import Keys
from tests.support.processes import ROOT

COPIES = (ROOT / "docs/how-to/backup-and-restore.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/how-to/redis.md").read_text(encoding="utf-8")


def documented() -> set[str]:
    rows = [line.split("|")[1] for line in PAGE.split("## Memory")[1].splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def families() -> set[str]:
    """The first word of every key, with a colon if there is one for each of something."""
    keys = Keys("p")
    found = [getattr(keys, name) for name in dir(keys) if not name.startswith("_") and name != "prefix"]
    names = [key("x") if callable(key) else key for key in found if not _takes_more(key)]
    names += [keys.demand("c", "p"), keys.durations("c", "p"), *keys.usage("s", 1)]
    names += [keys.index(index.value) for index in Index]
    return {re.sub(r"^p:([^:]+:?).*", r"\1", str(name)) for name in names}


def _takes_more(key: object) -> bool:
    return getattr(key, "__name__", "") in ("demand", "deliveries_about", "durations", "usage", "index")


def test_it_is_decided_of_every_key_family_whether_it_goes_with_a_copy() -> None:
    known = {name.removesuffix(":") for name in documented()}
    table = COPIES.split("### What goes with an export")[1].split("\n\nCelery")[0]
    rows = [line.split("|")[2:4] for line in table.splitlines() if line.startswith("| ") and "`" in line]
    said = {
        goes: {
            name
            for answer, names in rows
            if answer.strip() == goes
            for name in re.findall(r"`([^`]+)`", names)
        }
        for goes in ("yes", "no")
    }

    assert FIRST | BEFORE | BETWEEN | AFTER | LAST == known - LEFT_OUT == said["yes"]
    assert said["no"] == LEFT_OUT


def test_every_key_family_has_its_bound_on_the_page() -> None:
    options = celery_options(LedgerSettings(), result_expires_s=1.0)["broker_transport_options"]
    unacked = {
        str(options[f"unacked_{name}"]).partition(":")[2] for name in ("key", "index_key", "mutex_key")
    }

    assert families() | unacked | {"quota:"} == documented()
