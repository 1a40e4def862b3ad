"""Tell a webhook something again, or something to see whether it answers; for people at a shell."""

import secrets
from typing import Any

from config.policy.model import is_of
from tasks.ledger.ledger import Ledger
from tasks.ledger.notices import Notice, notice_of
from tasks.ledger.webhook_queues import WebhookQueues
from tasks.webhooks.messages import message_of


async def send_test(ledger: Ledger, name: str, by: str) -> str:
    """Put a message of type `test` into the webhook's queue; return its subject, which nothing else has."""
    subject = f"test-{secrets.token_hex(6)}"
    now = ledger.clock.now_ms()
    notice = Notice(
        kind="test", notice_id=f"msg_{subject}", subject=subject, at=now, said={"webhook": name, "by": by}
    )
    message = await message_of(ledger, notice)
    if message is not None:
        await WebhookQueues(ledger).hand_out("", [(name, message.delivery)])
        await ledger.move_on()
    return subject


async def replay(ledger: Ledger, name: str, about: dict[str, Any], since_ms: int) -> int:
    """Tell a webhook again of the requests that have ended since then (ms); return how many.

    Args:
        about: what is in force of the webhook: its events and producers count here, too.
    """
    queues, told = WebhookQueues(ledger), 0
    if "outcome" not in about["events"]:
        return 0
    async for request_id, at in ledger.overview.ended_since(since_ms):
        # The same id as the first time: a receiver that has had it passes it over.
        message = await message_of(ledger, notice_of("outcome", request_id, at))
        if message is not None and is_of(about["producers"], message.producers):
            told += await queues.hand_out("", [(name, message.delivery)])
    await ledger.move_on()
    return told
