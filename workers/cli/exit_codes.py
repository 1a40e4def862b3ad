"""What the commands' exit codes mean; other programs rely on them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    SUCCEEDED = 0
    ENDED_OTHERWISE = 1
    USAGE = 2
    STILL_GOING = 3
    NO_SUCH_REQUEST = 4
    UNREACHABLE = 5


def for_state(state: str) -> Exit:
    """Of a request that has ended as `state`."""
    return Exit.SUCCEEDED if state == "succeeded" else Exit.ENDED_OTHERWISE
