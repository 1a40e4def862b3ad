"""The policy of this installation, checked by all that knows something of it."""

from __future__ import annotations

from pathlib import Path

from config.policy import Policy
from config.policy_file import PolicyFile, load_policy
from config.settings import LedgerSettings
from tasks.schedules.request_check import request_problems


def read_policy(path: Path) -> Policy:
    """Raises PolicyError with every mistake at once."""
    return load_policy(path, request_problems)


def open_policy(settings: LedgerSettings) -> PolicyFile:
    """The file that the settings name, read again when it changes. Raises PolicyError."""
    return PolicyFile(settings.policy_file, request_problems)
