"""What the gateway's streams are made of: a client that is cut off in a batch is told of all of it again."""

import asyncio

from redis.asyncio import Redis

from tasks import admin
from tasks.contract.request import ScaleOutRequest
from tasks.intake.accept import Intake
from tasks.ledger.ledger import Ledger
from workers.gateway.hub import KEPT, Hub

NAMES = ("r-1", "r-2", "r-3")


async def test_a_batch_counts_as_read_with_its_last_event_only(ledger: Ledger, async_redis: Redis) -> None:
    hub = Hub(ledger, async_redis)
    await hub.begin()
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    for name in NAMES:
        spec = {"request_id": name, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        await intake.accept(ScaleOutRequest.model_validate(spec), None)
    await admin.cancel(ledger, "r-3", by="somebody")
    with hub.streaming():
        await hub.read()

    events = hub.since(0)
    assert events is not None
    assert [event.request_id for event in events] == list(NAMES)
    for number, event in enumerate(events):
        later = {one.request_id for one in events[number + 1 :]}
        told = {one.request_id async for one in hub.missed(event.position, hub.position)}
        assert later <= told
    assert [event async for event in hub.missed(hub.position, hub.position)] == []
    assert hub.since(hub.number) == []
    assert hub.since(hub.number - KEPT - 1) is None


async def test_what_came_before_anybody_streamed_is_filled_when_it_is_sent(
    ledger: Ledger, async_redis: Redis
) -> None:
    hub = Hub(ledger, async_redis)
    await hub.begin()
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    for name in NAMES:
        spec = {"request_id": name, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        await intake.accept(ScaleOutRequest.model_validate(spec), None)
    await admin.cancel(ledger, "r-3", by="somebody")
    await hub.read()

    events = hub.since(0)
    assert events is not None
    assert {event.data for event in events} == {""}
    filled = [await hub.filled(event) for event in events]
    told = [(event.kind, event.request_id, event.cluster_id) for event in filled if event is not None]
    assert told == [("status", "r-1", "ehpc-a"), ("status", "r-2", "ehpc-a"), ("outcome", "r-3", "ehpc-a")]


async def test_a_shared_document_is_never_older_than_the_last_event(
    ledger: Ledger, async_redis: Redis
) -> None:
    hub = Hub(ledger, async_redis)
    await hub.begin()
    spec = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
    reading = asyncio.create_task(hub.shared_document("r-1"))
    await asyncio.sleep(0)
    await Intake(ledger, coalesce_s=0.0, deadline_s=7200.0).accept(ScaleOutRequest.model_validate(spec), None)
    await hub.read()
    after = await hub.shared_document("r-1")
    await reading

    assert after is not None
    assert after["state"] == "waiting"
