"""`scaleout quota`."""

from __future__ import annotations

from typing import Any

from config.settings import LedgerSettings, Settings, load
from tasks.contract.outcome import timestamp
from tasks.ledger.ledger import Ledger
from tasks.lifecycle.engine import open_governor
from workers.cli.exit_codes import Exit
from workers.cli.ledger_access import with_ledger
from workers.cli.output import print_json, print_table, say


def show_quota(*, as_json: bool) -> Exit:
    settings = load(Settings)

    async def read(ledger: Ledger, _: LedgerSettings) -> dict[str, Any]:
        usage = await open_governor(settings, ledger).usage()
        full = usage.full_until_ms
        return {
            "limit": usage.limit,
            "period_s": settings.quota_period_s,
            "used": usage.used,
            "left": max(0, usage.limit - usage.used),
            "full_until": None if full is None else timestamp(full),
        }

    found = with_ledger(read)
    if as_json:
        print_json(found)
    else:
        print_table(None, tuple(found), [tuple(found.values())])
    if found["full_until"]:
        say(f"the provider has refused a call for its quota; nothing is sent until {found['full_until']}")
    return Exit.SUCCEEDED
