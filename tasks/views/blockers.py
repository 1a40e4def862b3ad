"""What blocks new operations: pauses, open circuit breakers, a blocked account."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING, Pause
from tasks.ledger.records import Account, Cluster
from tasks.state_machine import blocked_account, circuit_breaker, pauses

Kind = Literal["pause", "breaker", "account"]


@dataclass(frozen=True, slots=True)
class Blocker:
    """One of them.

    Fields:
        scope: EVERYTHING or a cluster's id.
        until: when it ends, or the next attempt is made; None if only an operator ends it.
        text: all of it in a sentence.
    """

    kind: Kind
    scope: str
    by: str
    reason: str | None
    since: str
    until: str | None
    text: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


async def read_blockers(ledger: Ledger) -> list[Blocker]:
    """Return all that are in force, those of everything first."""
    paused = [await ledger.pause(scope) for scope in await ledger.overview.paused_scopes()]
    broken = [await ledger.cluster(cluster_id) for cluster_id in await ledger.overview.broken_clusters()]
    return blockers_of(paused, broken, await ledger.account(), ledger.clock.now_ms())


def blockers_of(
    paused: Sequence[Pause], clusters: Iterable[Cluster], account: Account, now: int
) -> list[Blocker]:
    found = [_pause(pause) for pause in paused if pause.in_force(now)]
    if account.blocked_since is not None:
        found.append(_account(account))
    for cluster in clusters:
        found += _breakers(cluster)
    return sorted(found, key=lambda blocker: (blocker.scope != EVERYTHING, blocker.scope))


def _pause(pause: Pause) -> Blocker:
    until = None if pause.until is None else timestamp(pause.until)
    since = timestamp(pause.since)
    return Blocker("pause", pause.scope, pause.by, pause.reason, since, until, pauses.describe(pause))


def _account(account: Account) -> Blocker:
    return Blocker(
        "account",
        EVERYTHING,
        "the provider",
        None if account.reason is None else account.reason.message,
        timestamp(account.blocked_since or 0),
        timestamp(account.not_before),
        blocked_account.describe(account),
    )


def _breakers(cluster: Cluster) -> list[Blocker]:
    return [
        Blocker(
            "breaker",
            cluster.cluster_id,
            "the circuit breaker",
            breaker.last_error,
            timestamp(breaker.since),
            timestamp(breaker.until),
            circuit_breaker.describe(breaker),
        )
        for breaker in cluster.breakers.values()
        if breaker.is_open
    ]
