"""Write which webhooks the policy file has to the ledger: only then is anything noted for them."""

from config.policy.model import Webhook
from config.policy.webhook_url import origin_of
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.webhook_queues import WebhookQueues


async def sync_webhooks(ledger: Ledger, webhooks: tuple[Webhook, ...]) -> None:
    """Note those of this file, and remove those that it does not have."""
    queues = WebhookQueues(ledger)
    in_force = await queues.in_force()
    for webhook in webhooks:
        about = {
            "url": origin_of(webhook.url),
            "events": list(webhook.events),
            "producers": None if webhook.producers is None else list(webhook.producers),
        }
        if in_force.get(webhook.name) != about:
            await queues.put(webhook.name, about)
            event = "webhook_changed" if webhook.name in in_force else "webhook_added"
            await ledger.record(Event(event, fields={"webhook": webhook.name}))
        # After a time without it, what was pending is tried again.
        await queues.schedule(webhook.name)
    for name in in_force.keys() - {webhook.name for webhook in webhooks}:
        await queues.remove(name)
        await ledger.record(Event("webhook_removed", fields={"webhook": name}))
