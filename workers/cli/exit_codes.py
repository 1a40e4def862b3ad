"""The exit codes of the commands; other programs rely on them."""

from enum import IntEnum


class Exit(IntEnum):
    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    NOT_ENDED = 3
    NOT_FOUND = 4
    UNREACHABLE = 5


def for_state(state: str) -> Exit:
    """Return the exit code for a request that has ended as `state`."""
    return Exit.SUCCEEDED if state == "succeeded" else Exit.FAILED
