"""Pure: whether what a schedule asks for is a request at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.contract.request import InvalidRequest, parse_request

SOME_ID = "schedule:some:20260101T000000Z"


def request_problems(fields: Mapping[str, Any]) -> list[str]:
    """What the contract of requests has against `fields`, which have no id yet."""
    try:
        parse_request({**fields, "request_id": SOME_ID})
    except InvalidRequest as error:
        return error.problems
    return []
