"""PURE: what the words of a job's status mean. Two pages of the vendor name five; others occur elsewhere."""

from enum import Enum


class JobStatus(Enum):
    """A job's status. One that is unknown counts as still running."""

    PENDING = "pending"
    SUCCESSFUL = "successful"
    FAILED = "failed"


WORDS = {
    JobStatus.PENDING: (
        "pending working running waiting queued queueing processing executing started starting scheduled "
        "submitted created accepted doing in_progress in-progress inprogress progressing"
    ),
    JobStatus.SUCCESSFUL: "successful success succeed succeeded done finished complete completed",
    JobStatus.FAILED: (
        "failed failure fail error errored cancelled canceled cancel aborted abort terminated killed stopped "
        "rejected timeout timed_out timed-out timedout expired"
    ),
}
BY_WORD = {word: status for status, words in WORDS.items() for word in words.split()}


def status_of(word: str) -> JobStatus | None:
    """Return what a status means, in any case; None for an unknown one."""
    return BY_WORD.get("_".join(word.casefold().split()))
