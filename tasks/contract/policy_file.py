"""The policy of this installation, checked by all that knows something of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.policy.file import PolicyFile, load_policy
from config.policy.model import Policy
from config.settings import LedgerSettings
from tasks.contract.request import InvalidRequest, parse_request

SOME_ID = "schedule:some:20260101T000000Z"


def read_policy(path: Path) -> Policy:
    """Raises PolicyError with every mistake at once."""
    return load_policy(path, request_problems)


def open_policy(settings: LedgerSettings) -> PolicyFile:
    """The file that the settings name, read again when it changes. Raises PolicyError."""
    return PolicyFile(settings.policy_file, request_problems)


def request_problems(fields: Mapping[str, Any]) -> list[str]:
    """What the contract of requests has against `fields`, which have no id yet."""
    try:
        parse_request({**fields, "request_id": SOME_ID})
    except InvalidRequest as error:
        return error.problems
    return []
