"""What the page shows, read from the ledger."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from config.policy.model import Policy
from tasks.ledger.ended_index import narrowest_index
from tasks.ledger.history_pages import newest_first
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Request
from tasks.metrics.account import nodes_bought
from tasks.quota.rate_limiter import RateLimiter
from tasks.views.blockers import read_blockers
from tasks.views.fleet import fleet
from tasks.views.held_operations import read_evidence
from tasks.views.history import HistoryFilter
from tasks.views.read_status import read_documents
from tasks.views.stats import pool_stats
from workers.cli.commands.doctor import read_findings
from workers.cli.commands.findings import Finding
from workers.cli.commands.quota import read_quota
from workers.cli.commands.schedules import read_schedules
from workers.cli.commands.webhooks import read_webhooks
from workers.gateway.house import House
from workers.gateway.page.plots import Plot, stacked

MAX_OPEN = 50
MAX_ENDED = 50
MAX_POOLS = 12
LOOKED_AT = 2_000
QUOTA_PARTS = 30
HOURS = 24
FINDINGS_VALID_S = 2.0  # page.js knows it
ORDER = {"error": 0, "warning": 1, "ok": 2}


class Findings:
    """Doctor's findings, without a call of the API, for all who look within two seconds."""

    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._found: Sequence[Finding] = ()

    async def read(self) -> Sequence[Finding]:
        """Return them, the worst first."""
        async with self._reading:
            if time.monotonic() - self._read_at > FINDINGS_VALID_S:
                found = await read_findings(None, ask_provider=False)
                # A gateway needs no access key; the command line of a worker's host checks that.
                found = [finding for finding in found if finding.check not in ("settings", "environment")]
                self._found = sorted(found, key=lambda finding: ORDER[finding.status])
                self._read_at = time.monotonic()
            return self._found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for among what has happened."""

    state: str | None = None
    cluster_id: str | None = None
    requested_by: str | None = None
    request_id: str | None = None


async def read_page(house: House, findings: Findings, wanted: Wanted) -> dict[str, Any]:
    """Return what the template shows."""
    ledger = house.ledger
    open_ids = await ledger.overview.open_requests(MAX_OPEN)
    opened = list((await ledger.requests(open_ids, readable_only=True)).values())
    ended, complete = await _ended(ledger, wanted)
    quota = await read_quota(ledger, house.settings)
    return {
        "at": datetime.fromtimestamp(ledger.clock.now_ms() / 1000, UTC),
        "findings": await findings.read(),
        "workers": await fleet(ledger),
        "held": await read_evidence(ledger, await ledger.overview.held_operations()),
        "pauses": [one.json() for one in await read_blockers(ledger) if one.kind == "pause"],
        "open": await read_documents(ledger, opened),
        "open_count": await ledger.overview.open_count(),
        "schedules": await read_schedules(ledger, house.settings),
        "webhooks": await read_webhooks(ledger, house.settings),
        "quota": quota,
        "quota_plot": await _quota_plot(house.rate_limiter, quota["period_s"]),
        "nodes_plot": await _nodes_plot(ledger, house.policy()),
        "nodes": await nodes_bought(ledger, house.policy()),
        "pools": await _pools(ledger),
        "ended": await read_documents(ledger, ended),
        "ended_complete": complete,
        "wanted": wanted,
        "timeline": await _timeline(ledger, wanted.request_id),
    }


async def _ended(ledger: Ledger, wanted: Wanted) -> tuple[list[Request], bool]:
    """Return requests that have ended, the newest first, and whether these are all that match."""
    matching = HistoryFilter(wanted.cluster_id, wanted.requested_by, wanted.state)
    found: list[Request] = []
    looked_at = 0
    index = await narrowest_index(
        ledger, cluster_id=wanted.cluster_id, requested_by=wanted.requested_by, status=wanted.state
    )
    async for names in newest_first(ledger, index):
        requests = await ledger.requests(names, readable_only=True)
        for name in names:
            one = requests.get(name)
            if one is not None and matching.matches(one):
                found.append(one)
        looked_at += len(names)
        if len(found) > MAX_ENDED or looked_at >= LOOKED_AT:
            return found[:MAX_ENDED], False
    return found, True


async def _timeline(ledger: Ledger, request_id: str | None) -> dict[str, Any] | None:
    if request_id is None:
        return None
    request = await ledger.request(request_id)
    document = None if request is None else (await read_documents(ledger, [request]))[0]
    return {
        "request_id": request_id,
        "document": document,
        "events": [_event(line) for line in await ledger.overview.history(request_id)],
    }


def _event(line: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in line.items() if key not in ("at", "event") and value is not None}
    return {"at": line.get("at"), "event": line.get("event"), "fields": fields}


async def _quota_plot(rate_limiter: RateLimiter, period_s: float) -> Plot:
    counts = await rate_limiter.over_window(QUOTA_PARTS)
    minutes = period_s / 60
    labels = [""] * QUOTA_PARTS
    for place, part in ((0, 1.0), (QUOTA_PARTS // 2, 0.5)):
        labels[place] = f"-{minutes * part:g} min"
    labels[-1] = "now"
    return stacked({priority.name.lower(): values for priority, values in counts.items()}, labels)


async def _nodes_plot(ledger: Ledger, policy: Policy) -> Plot:
    """Plot the nodes of the requests that ended in the last day, by hour."""
    now = ledger.clock.now_ms()
    begin = now - HOURS * 3_600_000
    nodes = [0.0] * HOURS
    looked_at = 0
    async for names in newest_first(ledger, ledger.keys.ended, since=begin):
        for request in (await ledger.requests(names, readable_only=True)).values():
            if request.finished_at is not None and request.finished_at > begin:
                hour = int((request.finished_at - begin) / 3_600_000)
                nodes[min(hour, HOURS - 1)] += request.nodes_added
        looked_at += len(names)
        if looked_at >= LOOKED_AT:
            break
    labels = [""] * HOURS
    labels[0], labels[HOURS // 2], labels[-1] = "-24 h", "-12 h", "now"
    return stacked({"nodes": nodes}, labels, limit=policy.limits.nodes_per_hour)


async def _pools(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the statistics of the pools that were used last, longest jobs first."""
    pools = await ledger.overview.pools_seen(MAX_POOLS)
    durations = await ledger.overview.durations_of([(pool.cluster_id, pool.name) for pool in pools])
    rows = [pool_stats(pool, found) for pool, found in zip(pools, durations, strict=True)]
    longest = max([row["p90_s"] or 0 for row in rows], default=0) or 1
    for row in rows:
        row["p50_part"] = round(100 * (row["p50_s"] or 0) / longest, 1)
        row["p90_part"] = round(100 * (row["p90_s"] or 0) / longest, 1)
    return rows
