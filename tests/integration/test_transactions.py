"""`ledger.transact`: read, decide and commit, again after each conflict."""

import pytest

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.ledger import MAX_CONFLICTS, DataLost, Ledger, WriteConflict
from tasks.ledger.records import Cluster


def zone_of(cluster: Cluster, zone: str) -> ChangeSet:
    changes = ChangeSet()
    changes.write(cluster.model_copy(update={"zone": zone}))
    return changes


async def test_a_step_that_meets_a_conflict_is_built_again(ledger: Ledger) -> None:
    seen: list[str | None] = []

    async def build() -> ChangeSet:
        cluster = await ledger.cluster("ehpc-a")
        seen.append(cluster.zone)
        if len(seen) == 1:
            await ledger.commit(zone_of(cluster, "other"))
        return zone_of(cluster, "ours")

    changes = await ledger.transact(build)

    assert seen == [None, "other"]
    assert changes is not None
    assert (await ledger.cluster("ehpc-a")).zone == "ours"


async def test_nothing_to_change_writes_nothing(ledger: Ledger) -> None:
    async def build() -> None:
        return None

    assert await ledger.transact(build) is None
    assert (await ledger.cluster("ehpc-a")).version == 0


async def test_a_step_that_always_meets_a_conflict_is_given_up(ledger: Ledger) -> None:
    built = 0

    async def build() -> ChangeSet:
        nonlocal built
        built += 1
        cluster = await ledger.cluster("ehpc-a")
        await ledger.commit(zone_of(cluster, f"zone-{built}"))
        return zone_of(cluster, "ours")

    with pytest.raises(WriteConflict, match="50 times in a row"):
        await ledger.transact(build)

    assert built == MAX_CONFLICTS
    assert (await ledger.cluster("ehpc-a")).zone == f"zone-{built}"


async def test_a_sending_step_is_refused_by_a_ledger_with_lost_data(ledger: Ledger) -> None:
    await ledger.commit(ChangeSet())
    await ledger.redis.hset(ledger.keys.epoch, "lost", "1")

    async def build() -> ChangeSet:
        changes = zone_of(await ledger.cluster("ehpc-a"), "ours")
        changes.sends = True
        return changes

    with pytest.raises(DataLost, match="scaleout doctor"):
        await ledger.transact(build)

    assert (await ledger.cluster("ehpc-a")).version == 0
