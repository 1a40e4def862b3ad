"""All that keeps new operations from being sent: people's pauses, open breakers, a refused account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING, Pause
from tasks.ledger.records import Account, Cluster
from tasks.state_machine import circuit_breaker, pauses

Kind = Literal["pause", "breaker", "account"]


@dataclass(frozen=True, slots=True)
class Stop:
    """One of them. `scope`: EVERYTHING or a cluster's id; `text`: the whole of it as a sentence.

    `until`: when it lifts by itself, or when it is tried again; None if only a person ends it.
    """

    kind: Kind
    scope: str
    by: str
    why: str | None
    since: str
    until: str | None
    text: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


async def read_stops(ledger: Ledger) -> list[Stop]:
    """All that are in force, those of everything first."""
    pauses = [await ledger.pause(scope) for scope in await ledger.overview.paused_scopes()]
    clusters = [await ledger.cluster(cluster_id) for cluster_id in await ledger.overview.broken_clusters()]
    return stops_of(pauses, clusters, await ledger.account(), ledger.clock.now_ms())


def stops_of(pauses: Sequence[Pause], clusters: Iterable[Cluster], account: Account, now: int) -> list[Stop]:
    found = [_pause(pause) for pause in pauses if pause.in_force(now)]
    if account.refused_since is not None:
        found.append(_account(account))
    for cluster in clusters:
        found += _breakers(cluster)
    return sorted(found, key=lambda stop: (stop.scope != EVERYTHING, stop.scope))


def account_text(account: Account) -> str:
    said = "" if account.refusal is None else f": {account.refusal.message}"
    return f"the account is refused, tried again {timestamp(account.not_before)}{said}"


def _pause(pause: Pause) -> Stop:
    until = None if pause.until is None else timestamp(pause.until)
    text = pauses.text_of(pause)
    return Stop("pause", pause.scope, pause.by, pause.why, timestamp(pause.since), until, text)


def _account(account: Account) -> Stop:
    return Stop(
        "account",
        EVERYTHING,
        "the provider",
        None if account.refusal is None else account.refusal.message,
        timestamp(account.refused_since or 0),
        timestamp(account.not_before),
        account_text(account),
    )


def _breakers(cluster: Cluster) -> list[Stop]:
    return [
        Stop(
            "breaker",
            cluster.cluster_id,
            "the breaker",
            broken.said,
            timestamp(broken.since),
            timestamp(broken.until),
            circuit_breaker.text_of(broken),
        )
        for broken in cluster.breakers.values()
        if broken.is_open
    ]
