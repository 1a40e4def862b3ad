"""The policy file, its requests checked against the contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.policy.file import PolicyFile, load_policy
from config.policy.model import Policy
from config.settings import LedgerSettings
from tasks.contract.request import InvalidRequest, parse_request

SOME_ID = "schedule:some:20260101T000000Z"


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises PolicyError with every mistake at once."""
    return load_policy(path, request_problems)


def open_policy(settings: LedgerSettings) -> PolicyFile:
    """Return the policy of the settings' file, which is read again when it changes. Raises PolicyError."""
    return PolicyFile(settings.policy_file, request_problems)


def request_problems(fields: Mapping[str, Any]) -> list[str]:
    """Return the problems of a request without an id."""
    try:
        parse_request({**fields, "request_id": SOME_ID}, of_schedule=True)
    except InvalidRequest as error:
        return error.problems
    return []
