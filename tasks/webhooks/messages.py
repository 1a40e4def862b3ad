"""What a webhook is told: `type`, `timestamp` and `data`, from the ledger as it is now."""

import json
from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.notices import Notice
from tasks.ledger.pauses import EVERYTHING
from tasks.ledger.webhook_queues import Delivery
from tasks.views.held_operations import read_evidence


@dataclass(frozen=True, slots=True)
class Message:
    """`producers`: of the requests it is about; empty if it is about none."""

    delivery: Delivery
    producers: frozenset[str | None]


async def message_of(ledger: Ledger, notice: Notice) -> Message | None:
    """Return what is told of a notice; None if the ledger does not know its subject any more."""
    match notice.kind:
        case "outcome" | "late_nodes":
            outcome = await ledger.current_outcome(notice.subject)
            if outcome is None:
                return None
            return _message(notice, outcome, {outcome.get("requested_by")})
        case "held":
            found = await read_evidence(ledger, [notice.subject])
            if not found:
                return None
            requests = await ledger.requests(found[0]["requests"], readable_only=True)
            producers = {one.spec.requested_by for one in requests.values() if one.spec is not None}
            return _message(notice, found[0], producers)
        case "paused":
            cluster_id = None if notice.subject == EVERYTHING else notice.subject
            return _message(notice, {"cluster_id": cluster_id, **notice.said}, ())
        case _:
            return _message(notice, dict(notice.said), ())


def _message(notice: Notice, data: dict[str, Any], producers: Any) -> Message:
    content = {"type": notice.kind, "timestamp": timestamp(notice.at), "data": data}
    delivery = Delivery(
        message_id=notice.notice_id,
        kind=notice.kind,
        subject=notice.subject,
        body=json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        noted_at=notice.at,
    )
    return Message(delivery, frozenset(producers))
