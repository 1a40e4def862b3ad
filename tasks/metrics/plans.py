"""Schedules and webhooks in force."""

from config.timestamps import utc_second
from tasks.ledger.ledger import Ledger
from tasks.ledger.webhook_queues import WebhookQueues
from tasks.metrics.families import Sample

RESULTS = ("requested", "enough", "missed")


async def schedule_samples(ledger: Ledger) -> list[Sample]:
    """Return when each schedule has its next occurrence, and how its last one was handled."""
    samples = []
    for name in sorted(await ledger.schedule_names()):
        record = await ledger.unless_unreadable(ledger.schedule(name))
        if record is None or record.gone:
            continue
        after = utc_second(max(record.last_handled, ledger.clock.now_ms()))
        coming = next(record.schedule.occurrences(after), None)
        if coming is not None:
            samples.append(Sample("scaleout_schedule_next_timestamp_seconds", coming.timestamp(), (name,)))
        if record.last is not None:
            at = record.last.occurrence / 1000
            samples.append(Sample("scaleout_schedule_last_timestamp_seconds", at, (name,)))
            for result in RESULTS:
                is_it = record.last.result == result
                samples.append(Sample("scaleout_schedule_last_result", is_it, (name, result)))
    return samples


async def webhook_samples(ledger: Ledger) -> list[Sample]:
    samples = []
    for state in await WebhookQueues(ledger).states():
        name = (state.name,)
        samples.append(Sample("scaleout_webhook_pending", state.pending, name))
        samples.append(Sample("scaleout_webhook_failures", state.number("failures") or 0, name))
        samples.append(Sample("scaleout_webhook_disabled", state.disabled is not None, name))
        for result in ("delivered", "given_up", "dropped"):
            count = state.number(result) or 0
            samples.append(Sample("scaleout_webhook_deliveries_total", count, (*name, result)))
    return samples
