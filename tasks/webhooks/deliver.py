"""Hands notices out to the webhooks of the policy, and delivers what is due."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from config.policy.model import Webhook
from tasks.handlers.context import Context
from tasks.ledger.events import Event
from tasks.ledger.webhook_queues import Delivery, Noted, Settled, WebhookQueues
from tasks.webhooks.messages import message_of
from tasks.webhooks.retries import settled
from tasks.webhooks.sender import Sender

log = structlog.get_logger(__name__)

AT_ONCE = 8
WORKS_FOR_MS = 20_000
OTHER_POLICY_MS = 30_000


class Webhooks:
    """Both steps may run in several workers at once: a delivery is made twice then, and noted once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._queues = WebhookQueues(ctx.ledger)
        self._sender = Sender()
        self._working: set[str] = set()

    async def close(self) -> None:
        await self._sender.close()

    async def hand_out(self) -> None:
        """Give every notice to the webhooks that want it."""
        queues, now = self._queues, self._ctx.clock.now_ms()
        in_force = await queues.in_force()
        if not in_force:
            await queues.forget_notices()
            await queues.schedule_notices(None)
            return
        known = self._ctx.policy().webhooks
        if not in_force.keys() <= {webhook.name for webhook in known}:
            # Another worker's policy file has the rest of them.
            await queues.schedule_notices(now + OTHER_POLICY_MS)
            return
        webhooks = [webhook for webhook in known if webhook.name in in_force]
        while notices := await queues.notices():
            for text, notice in notices:
                message = None if notice is None else await message_of(self._ctx.ledger, notice)
                if message is None:
                    await self._put_aside("webhook_notice_unusable", text)
                wanting = [] if message is None else _wanting(webhooks, message.delivery, message.producers)
                deliveries = [(webhook.name, message.delivery) for webhook in wanting if message is not None]
                await queues.hand_out(text, deliveries)
        await queues.schedule_notices(None)

    async def deliver(self, name: str) -> None:
        """Deliver what is due for one webhook, for some time, then let the due set bring it up again."""
        webhook = self._ctx.policy().webhook(name)
        if webhook is None:
            not_before = self._ctx.clock.now_ms() + OTHER_POLICY_MS
            await self._queues.schedule(name, not_before)
            return
        if name in self._working:
            return
        self._working.add(name)
        try:
            await self._deliver(webhook)
        finally:
            self._working.discard(name)

    async def _deliver(self, webhook: Webhook) -> None:
        queues, clock = self._queues, self._ctx.clock
        state, began = await queues.state(webhook.name, {}), clock.now_ms()
        failing, not_before = (state.number("failures") or 0) > 0, state.number("not_before") or 0
        while state.disabled is None and not_before <= clock.now_ms() < began + WORKS_FOR_MS:
            # One that fails is asked about one thing at a time, until it answers again.
            found = await queues.next_due(webhook.name, 1 if failing else AT_ONCE)
            if not found:
                break
            results = await asyncio.gather(*(self._attempt(webhook, *one) for one in found))
            failing = any(result.counts != "delivered" for result in results)
            if any(result.disabled or result.not_before for result in results):
                break
        await queues.schedule(webhook.name)

    async def _attempt(self, webhook: Webhook, subject: str, text: str, delivery: Delivery | None) -> Settled:
        now = self._ctx.clock.now_ms()
        if delivery is None:
            await self._put_aside("webhook_delivery_unusable", text, webhook=webhook.name)
            became = Settled(None, now, counts="given_up", problem="the ledger's entry cannot be read")
        else:
            answer = await self._sender.send(webhook, delivery, now)
            became = settled(delivery, answer, self._ctx.clock.now_ms(), self._ctx.rng.random())
        noted = await self._queues.settle(webhook.name, text, subject, became)
        if noted.failures >= 0:
            await self._report(webhook.name, subject, delivery, became, noted)
        return replace(became, disabled=noted.disabled)

    async def _report(
        self, name: str, subject: str, delivery: Delivery | None, became: Settled, noted: Noted
    ) -> None:
        about = {"webhook": name, "subject": subject}
        if delivery is not None:
            about |= {"kind": delivery.kind, "message_id": delivery.message_id}
        if became.counts == "delivered":
            log.info("webhook_delivered", **about)
            return
        log.warning("webhook_failed", **about, detail=became.problem, failures=noted.failures)
        if became.counts == "given_up":
            await self._ctx.ledger.record(Event("webhook_given_up", "error", fields=about, in_journal=True))
        if noted.now_disabled:
            fields = {"webhook": name, "reason": noted.disabled}
            await self._ctx.ledger.record(Event("webhook_disabled", "error", fields=fields, in_journal=True))

    async def _put_aside(self, event: str, text: str, **about: str) -> None:
        fields = {**about, "text": text[:500]}
        await self._ctx.ledger.record(Event(event, "error", fields=fields, in_journal=True))


def _wanting(
    webhooks: Sequence[Webhook], delivery: Delivery, producers: frozenset[str | None]
) -> list[Webhook]:
    return [webhook for webhook in webhooks if webhook.wants(delivery.kind, producers)]
