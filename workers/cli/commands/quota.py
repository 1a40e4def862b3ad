"""`scaleout quota`."""

from collections.abc import Mapping
from typing import Any

from config.settings import QuotaSettings, load
from config.timestamps import timestamp
from tasks.engine.wiring import open_rate_limiter
from tasks.ledger.ledger import Ledger
from tasks.quota.priorities import CallPriority
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, echo_problems, print_json


async def read_quota(ledger: Ledger, settings: QuotaSettings) -> dict[str, Any]:
    """Return how many of the account's API calls are used."""
    rate_limiter = open_rate_limiter(settings, ledger)
    usage = await rate_limiter.usage()
    exhausted = usage.exhausted_until_ms
    return {
        "limit": usage.limit,
        "period_s": settings.quota_period_s,
        "used": usage.used,
        "left": max(0, usage.limit - usage.used),
        "exhausted_until": None if exhausted is None else timestamp(exhausted),
        "by_class": {
            priority.name.lower(): {
                "used": usage.by_priority[priority],
                "limit": usage.limit_for(priority),
                "next_free_at": timestamp(await rate_limiter.next_free_ms(priority)),
            }
            for priority in CallPriority
        },
    }


def show_quota(*, as_json: bool) -> Exit:
    settings = load(QuotaSettings)
    found = with_ledger(lambda ledger, _: read_quota(ledger, settings))
    if as_json:
        print_json(found)
        return Exit.SUCCEEDED
    columns = ("calls for", "used", "limit", "next one free at")
    rows = [(name, *of_class.values()) for name, of_class in found["by_class"].items()]
    print_table(None, columns, rows)
    echo(f"{found['used']} of {found['limit']} calls in {found['period_s']:g} s, {found['left']} left")
    if found["exhausted_until"]:
        until = found["exhausted_until"]
        echo(f"the provider refuses calls: the quota is exhausted; nothing is sent until {until}")
    return Exit.SUCCEEDED


def refuse_options(given: Mapping[str, str | None], *, as_json: bool) -> Exit | None:
    """Report options that only a plan has; None if there are none."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if not names:
        return None
    echo_problems([f"{name} needs --plan" for name in names], as_json=as_json, kind="usage")
    return Exit.USAGE
