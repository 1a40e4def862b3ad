"""The account: API quota, nodes bought, and what stops sending."""

from collections import Counter
from dataclasses import dataclass

from config.policy.model import Policy, PolicyLimits
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.limits.applicable import DAY_S, HOUR_S
from tasks.limits.usage import UsageCounter
from tasks.metrics.families import Sample
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import RateLimiter
from tasks.views.blockers import read_blockers

WINDOWS = {"hour": HOUR_S, "day": DAY_S}


async def account_samples(ledger: Ledger, rate_limiter: RateLimiter, policy: Policy) -> list[Sample]:
    return [*await _quota(rate_limiter), *await _nodes(ledger, policy), *await _blockers(ledger)]


async def _quota(rate_limiter: RateLimiter) -> list[Sample]:
    usage = await rate_limiter.usage()
    samples = [Sample("scaleout_quota_exhausted", usage.exhausted_until_ms is not None)]
    for priority in CallPriority:
        name = priority.name.lower()
        samples.append(Sample("scaleout_quota_calls_used", usage.by_priority[priority], (name,)))
        samples.append(Sample("scaleout_quota_calls_limit", usage.limit_for(priority), (name,)))
    return samples


@dataclass(frozen=True, slots=True)
class Bought:
    """Nodes of one window, and the account's limit; None if there is none."""

    window: str
    used: int
    limit: int | None


async def nodes_bought(ledger: Ledger, policy: Policy) -> list[Bought]:
    """Return what was bought by hour and day: it is counted only while the policy has any limit."""
    if policy.limits == PolicyLimits():
        return []
    counters = [UsageCounter("account", window_s) for window_s in WINDOWS.values()]
    limits = (policy.limits.nodes_per_hour, policy.limits.nodes_per_day)
    found = await ledger.usage(counters)
    return [
        Bought(window, usage.used, limit) for window, usage, limit in zip(WINDOWS, found, limits, strict=True)
    ]


async def _nodes(ledger: Ledger, policy: Policy) -> list[Sample]:
    found = await nodes_bought(ledger, policy)
    samples = [Sample("scaleout_nodes_bought", one.used, (one.window,)) for one in found]
    limited = [(one.window, one.limit) for one in found if one.limit is not None]
    return [*samples, *(Sample("scaleout_nodes_limit", limit, (window,)) for window, limit in limited)]


async def _blockers(ledger: Ledger) -> list[Sample]:
    found = await read_blockers(ledger)
    kinds = Counter(blocker.kind for blocker in found)
    account = sum(blocker.kind == "pause" and blocker.scope == EVERYTHING for blocker in found)
    return [
        Sample("scaleout_pauses", account, ("account",)),
        Sample("scaleout_pauses", kinds["pause"] - account, ("cluster",)),
        Sample("scaleout_breakers_open", kinds["breaker"]),
        Sample("scaleout_account_blocked", kinds["account"]),
    ]
