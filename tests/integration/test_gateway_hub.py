"""What the gateway's streams are made of: a client that is cut off in a batch is told of all of it again."""

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
