"""What `doctor` says of pauses, breakers and a refused account."""

from __future__ import annotations

from typing import Literal

from tasks.ledger.ledger import Ledger
from tasks.views.blockers import Stop

COUNTED = (
    "paused",
    "resumed",
    "breaker_opened",
    "breaker_probe",
    "breaker_closed",
    "account_refused",
    "account_accepted",
)


def show_stop(stop: Stop) -> tuple[str, Literal["warning", "wrong"], str]:
    """What was looked at, the verdict and the words. A pause is somebody's wish; all else wants a person."""
    if stop.kind == "account":
        return "account", "wrong", f"since {stop.since}: {stop.text}"
    if stop.kind == "pause":
        of = "" if stop.scope == "everything" else f" --cluster {stop.scope}"
        return f"pause {stop.scope}", "warning", f"{stop.text}. `scaleout resume{of}` lifts it"
    close = f"`scaleout resume --cluster {stop.scope}` closes it now"
    return f"breaker {stop.scope}", "wrong", f"since {stop.since}: {stop.text}. {close}"


async def stops_so_far(ledger: Ledger) -> str:
    """How often the sending has been stopped and gone on, in words; '' if it never was."""
    counts = {name: await ledger.overview.counter(name) for name in COUNTED}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
