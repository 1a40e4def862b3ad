"""What an answer means, and when a delivery is tried again."""

import pytest

from tasks.ledger.webhook_queues import Delivery
from tasks.webhooks.retries import MAX_RETRY_AFTER_MS, TRIED_FOR_MS, Answer, settled

DELIVERY = Delivery(message_id="msg_1", kind="outcome", subject="r-1", body="{}", noted_at=0)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_ends_it(status: int) -> None:
    assert settled(DELIVERY, Answer(status), 5, 0.5).counts == "delivered"


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 404, 429, 500, 503, None])
def test_all_else_is_tried_again(status: int | None) -> None:
    became = settled(DELIVERY, Answer(status, "away"), 5, 0.0)

    assert became.becomes is not None
    assert (became.becomes.attempts, became.next_at, became.disabled) == (1, 5_005, "")


def test_waits_grow_and_differ() -> None:
    waits, delivery = [], DELIVERY
    for _ in range(12):
        became = settled(delivery, Answer(500), 0, 0.0)
        assert became.becomes is not None
        delivery = became.becomes
        waits.append(became.next_at)

    assert waits == sorted(waits)
    assert waits[-1] == 14_400_000
    assert settled(DELIVERY, Answer(500), 0, 1.0).next_at > settled(DELIVERY, Answer(500), 0, 0.0).next_at


def test_it_is_given_up_after_three_days() -> None:
    late = settled(DELIVERY, Answer(500), TRIED_FOR_MS, 0.0)

    assert (late.counts, late.becomes, late.problem) == ("given_up", None, "answered 500")


def test_gone_disables_and_keeps_the_delivery() -> None:
    became = settled(DELIVERY, Answer(410), 0, 0.0)

    assert became.becomes is not None
    assert became.disabled


@pytest.mark.parametrize(
    ("asked", "wait"), [(30_000, 30_000), (1, 1_000), (10 * MAX_RETRY_AFTER_MS, MAX_RETRY_AFTER_MS)]
)
def test_retry_after_holds_for_the_whole_webhook(asked: int, wait: int) -> None:
    became = settled(DELIVERY, Answer(503, retry_after_ms=asked), 7, 0.5)

    assert became.next_at == 7 + wait
    assert became.not_before == 7 + min(asked, MAX_RETRY_AFTER_MS)
