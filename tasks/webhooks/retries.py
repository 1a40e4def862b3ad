"""PURE: what an answer means, and when a delivery is tried again. Times in ms."""

from dataclasses import dataclass
from http import HTTPStatus

from tasks.ledger.webhook_queues import Delivery, Settled

TRIED_FOR_MS = 3 * 86_400_000
WAITS_MS = (5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000)
MAX_RETRY_AFTER_MS = 86_400_000
MIN_WAIT_MS = 1_000
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None if nothing did, and `problem` says why."""

    status: int | None
    problem: str = ""
    retry_after_ms: int | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def settled(delivery: Delivery, answer: Answer, now: int, chance: float) -> Settled:
    """Return what becomes of a delivery after an attempt.

    Args:
        chance: a random number of 0 to 1, so that deliveries do not come all at once again.
    """
    if answer.is_success:
        return Settled(None, now, counts="delivered")
    problem = answer.problem or f"answered {answer.status}"
    tried = delivery.model_copy(update={"attempts": delivery.attempts + 1, "tried_at": now})
    if answer.status == HTTPStatus.GONE:
        return Settled(tried, now, problem=problem, disabled="answered 410 (gone)")
    asked_ms = min(answer.retry_after_ms or 0, MAX_RETRY_AFTER_MS)
    wait_ms = WAITS_MS[min(delivery.attempts, len(WAITS_MS) - 1)]
    next_at = now + (max(asked_ms, MIN_WAIT_MS) if asked_ms else round(wait_ms * (1 + JITTER * chance)))
    not_before = now + asked_ms if asked_ms else 0
    if next_at - delivery.noted_at > TRIED_FOR_MS:
        return Settled(None, now, counts="given_up", problem=problem, not_before=not_before)
    return Settled(tried, next_at, problem=problem, not_before=not_before)
