"""`scaleout doctor`: the webhooks that are not told of what happens."""

from tasks.ledger.ledger import Ledger
from tasks.ledger.webhook_queues import WebhookQueues, WebhookState
from workers.cli.commands.findings import Finding


async def webhook_findings(ledger: Ledger) -> list[Finding]:
    """Return those that are disabled, that fail, or that have missed something."""
    found = [_finding(state) for state in await WebhookQueues(ledger).states()]
    return [finding for finding in found if finding is not None]


def _finding(state: WebhookState) -> Finding | None:
    check = f"webhook {state.name}"
    if state.disabled is not None:
        detail = f"disabled, {state.disabled}: `scaleout webhooks enable {state.name}` tells it again"
        return Finding(check, "error", detail)
    if state.number("failures"):
        return Finding(
            check, "warning", f"fails: {state.counts.get('last_failure')}; pending: {state.pending}"
        )
    if missed := (state.number("given_up") or 0) + (state.number("dropped") or 0):
        detail = f"has missed {missed} so far: `scaleout webhooks replay {state.name} --since 7d`"
        return Finding(check, "warning", detail)
    return None
