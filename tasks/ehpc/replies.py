"""PURE: decode the bytes of a reply to a typed answer, or to an error by what to do next."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.ehpc.errors import InDoubt, QuotaExhausted, reason
from tasks.ehpc.models import JobAccepted, JobPage, JobRow, NodePage, NodeRow, Page, R

MAX_BYTES = 8 * 1024 * 1024
JOB_ID = re.compile(r"[!-~]{1,128}")
CODE = re.compile(r"-?[0-9]{1,9}")
MAX_CODE = 999_999_999
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply. `flaw` describes a damaged body: cut off, or larger than is read.

    `skew_s`: how far the provider's clock was ahead of ours, if it said its time.
    """

    http_status: int
    body: bytes = field(repr=False)
    flaw: str | None = None
    retry_after: str | None = None
    skew_s: float | None = None


def add_nodes_response(reply: Reply) -> JobAccepted:
    """Return the job that addNodes has started. Raises EhpcError: InDoubt if a job may have been made."""
    content = _content(reply)
    job_id = content.get("job_id")
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        missing = "a job_id that can be used" if job_id else "a job_id"
        message = f"the provider answered 0 without {missing}"
        raise InDoubt(message, ret_code=0, http_status=reply.http_status)
    return JobAccepted(job_id)


def jobs_response(reply: Reply) -> JobPage:
    """Return a page of the operation log. Raises EhpcError."""
    return _page(JobRow, reply, "job_set")


def nodes_response(reply: Reply) -> NodePage:
    """Return a page of a cluster's nodes. Raises EhpcError."""
    return _page(NodeRow, reply, "hpc_app_nodes_set")


def _page(kind: type[R], reply: Reply, name: str) -> Page[R]:
    content = _content(reply)
    found, total = content.get(name), content.get("total_count")
    if found is None and total is not None:
        found = []
    if not isinstance(found, list):
        message = f"the provider's listing has no {name} that can be read"
        raise InDoubt(message, ret_code=0, http_status=reply.http_status)
    return Page.read(kind, found, total, reply.skew_s)


def _content(reply: Reply) -> Mapping[str, Any]:
    """Return the JSON object of a reply with ret_code 0."""
    status = reply.http_status
    if status == TOO_MANY_REQUESTS:
        message = "the provider answered HTTP 429: too many calls"
        raise QuotaExhausted(message, http_status=status, retry_after_s=_seconds(reply.retry_after))
    if reply.flaw is not None:
        raise InDoubt(f"the reply is {reply.flaw} (HTTP {status})", http_status=status)
    try:
        content = json.loads(reply.body)
    except (ValueError, RecursionError):
        raise InDoubt(_not_json(reply), http_status=status) from None
    if not isinstance(content, dict):
        raise InDoubt(f"the reply is JSON, but no object (HTTP {status})", http_status=status)
    ret_code = _ret_code(content.get("ret_code"))
    if ret_code is None:
        raise InDoubt(f"the reply has no ret_code (HTTP {status})", http_status=status)
    if ret_code != 0 and content.get("job_id"):
        message = f"the provider answered {ret_code}, and a job_id with it"
        raise InDoubt(message, ret_code=ret_code, http_status=status)
    if ret_code != 0:
        if status >= 500:
            # A gateway's error page may quote anything; only the service itself can refuse for sure.
            raise InDoubt(f"HTTP {status} with ret_code {ret_code}", ret_code=ret_code, http_status=status)
        said = content.get("message")
        raise reason(ret_code, said if isinstance(said, str) else "", status)
    if not 200 <= status < 300 and not content.get("job_id"):
        # With a job_id the job exists, whatever the status says: evidence is not thrown away.
        raise InDoubt(f"HTTP {status} with ret_code 0", ret_code=0, http_status=status)
    return content


def _ret_code(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if CODE.fullmatch(value) else None
    return value if isinstance(value, int) and abs(value) <= MAX_CODE else None


def _not_json(reply: Reply) -> str:
    start = reply.body[:64].lstrip().lower()
    if not start:
        what = "empty"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        what = "a page of HTML or XML"
    else:
        what = "not JSON"
    return f"the reply is {what} (HTTP {reply.http_status})"


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, 10.2.3: delay-seconds; the form with a date is not used by this API."""
    if retry_after is None or not retry_after.strip().isascii() or not retry_after.strip().isdigit():
        return None
    return float(min(int(retry_after.strip()[:9]), 86_400))
