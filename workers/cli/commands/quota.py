"""`scaleout quota`."""

from __future__ import annotations

from typing import Any

from config.settings import LedgerSettings, QuotaSettings, load
from config.timestamps import timestamp
from tasks.engine.wiring import open_governor
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import CallClass
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say


def show_quota(*, as_json: bool) -> Exit:
    settings = load(QuotaSettings)

    async def read(ledger: Ledger, _: LedgerSettings) -> dict[str, Any]:
        governor = open_governor(settings, ledger)
        usage = await governor.usage()
        full = usage.full_until_ms
        return {
            "limit": usage.limit,
            "period_s": settings.quota_period_s,
            "used": usage.used,
            "left": max(0, usage.limit - usage.used),
            "full_until": None if full is None else timestamp(full),
            "by_class": {
                call_class.name.lower(): {
                    "used": usage.by_class[call_class],
                    "granted_up_to": usage.granted_up_to(call_class),
                    "next_free_at": timestamp(await governor.next_free_ms(call_class)),
                }
                for call_class in CallClass
            },
        }

    found = with_ledger(read)
    if as_json:
        print_json(found)
        return Exit.SUCCEEDED
    columns = ("calls for", "used", "granted while the window has used less than", "next one free at")
    rows = [(name, *of_class.values()) for name, of_class in found["by_class"].items()]
    print_table(None, columns, rows)
    say(f"{found['used']} of {found['limit']} calls in {found['period_s']:g} s, {found['left']} left")
    if found["full_until"]:
        say(f"the provider has refused a call for its quota; nothing is sent until {found['full_until']}")
    return Exit.SUCCEEDED
