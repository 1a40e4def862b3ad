"""Reads a policy file, and reads it again when it has changed."""

import hashlib
import time
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from config.policy.checks import (
    duplicate_names,
    limit_problems,
    place,
    schedule_problems,
    unsatisfiable_schedules,
)
from config.policy.model import REQUEST_FIELDS, Allow, Policy, PolicyLimits, Schedule, Webhook
from config.validation_messages import field_path, messages, unknown

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 1.0
SHOWN_DIGEST = 12

T = TypeVar("T", bound=BaseModel)
# Returns the problems of a request's fields by the contract, which this package does not know.
CheckRequest = Callable[[Mapping[str, Any]], Sequence[str]]
Signature = tuple[int, int, int]


class PolicyError(ValueError):
    """A policy file cannot be used; `problems` has one sentence for each mistake."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = list(problems)
        super().__init__(f"policy file {path}: {'; '.join(self.problems)}")


def load_policy(path: Path, check_request: CheckRequest | None = None) -> Policy:
    """Read a policy file. Raises PolicyError with every mistake at once."""
    try:
        return parse_policy(path.read_bytes(), check_request)
    except OSError as error:
        raise PolicyError(path, [f"cannot be read: {error.strerror}"]) from None
    except _Mistakes as mistakes:
        raise PolicyError(path, mistakes.problems) from None


class _Mistakes(ValueError):  # noqa: N818 - named by what it holds
    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


def parse_policy(content: bytes, check_request: CheckRequest | None) -> Policy:
    try:
        data = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Mistakes([f"line {line}: is not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise _Mistakes([f"is not TOML: {error}"]) from None
    known = ("limits", "allow", "schedule", "webhook")
    problems = [unknown("key", field_path((key,)), key, known) for key in data if key not in known]
    limits = _table(PolicyLimits, "limits", data.get("limits", {}), problems)
    allow = _table(Allow, "allow", data.get("allow", {}), problems)
    schedules = _schedules(data.get("schedule", []), problems, check_request)
    webhooks = _webhooks(data.get("webhook", []), problems)
    if limits is not None:
        problems += limit_problems("limits", limits)
        for name, of_cluster in limits.clusters.items():
            problems += limit_problems(f'limits.clusters."{name}"', of_cluster)
        for name, of_producer in limits.producers.items():
            problems += limit_problems(f'limits.producers."{name}"', of_producer)
    problems += unsatisfiable_schedules(
        Policy(limits=limits or PolicyLimits(), allow=allow or Allow(), schedules=tuple(schedules))
    )
    if problems:
        raise _Mistakes(problems)
    assert limits is not None  # noqa: S101 - or there were problems
    assert allow is not None  # noqa: S101
    return Policy(limits=limits, allow=allow, schedules=tuple(schedules), webhooks=tuple(webhooks))


def _table(
    kind: type[T], where: str, data: Any, problems: list[str], leave_out: Collection[str] = ()
) -> T | None:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems += messages(
            error,
            kind,
            name=lambda location: field_path(location, where),
            noun="key",
            skip=lambda location: location[:1] != () and location[0] in leave_out,
        )
        return None


def _schedules(data: Any, problems: list[str], check_request: CheckRequest | None) -> list[Schedule]:
    if not isinstance(data, list):
        problems.append("schedule: must be written [[schedule]], once for each schedule")
        return []
    found = []
    for number, table in enumerate(data, 1):
        name = table.get("name") if isinstance(table, dict) else None
        where = place(name) if isinstance(name, str) else f"schedule #{number}"
        of_request = _request_problems(where, table, check_request)
        # The contract of requests checks these fields, and more strictly.
        schedule = _table(Schedule, where, table, problems, leave_out=REQUEST_FIELDS if of_request else ())
        problems += of_request
        if schedule is not None:
            problems += schedule_problems(schedule)
            found.append(schedule)
    problems += duplicate_names("schedule", [schedule.name for schedule in found])
    return found


def _webhooks(data: Any, problems: list[str]) -> list[Webhook]:
    if not isinstance(data, list):
        problems.append("webhook: must be written [[webhook]], once for each webhook")
        return []
    found = []
    for number, table in enumerate(data, 1):
        name = table.get("name") if isinstance(table, dict) else None
        where = f'webhook."{name}"' if isinstance(name, str) else f"webhook #{number}"
        webhook = _table(Webhook, where, table, problems)
        if webhook is not None:
            found.append(webhook)
    problems += duplicate_names("webhook", [webhook.name for webhook in found])
    return found


def _request_problems(where: str, table: Any, check_request: CheckRequest | None) -> list[str]:
    if check_request is None or not isinstance(table, dict):
        return []
    fields = {name: table[name] for name in REQUEST_FIELDS if name in table}
    return [f"{where}.{problem}" for problem in check_request(fields)]


class PolicyFile:
    """The policy in force: call it. A changed file is read again; an invalid one leaves the last valid one.

    It checks for changes at most once a second and reads a file that has not changed since the last check:
    one that is still being written may look like a valid, shorter one.

    Args:
        path: None for a policy that limits nothing.

    Raises:
        PolicyError: the file is invalid at the start.
    """

    def __init__(
        self,
        path: Path | None,
        check_request: CheckRequest | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.digest = ""
        self._check_request = check_request
        self._now_s = now_s
        self._policy = Policy()
        self._logged = ""
        self._next_check = now_s() + CHECK_INTERVAL_S
        self._loaded = self._changed = _signature(path)
        if path is not None:
            self._load(path)

    def __call__(self) -> Policy:
        now = self._now_s()
        if self.path is None:
            return self._policy
        self._log_loaded(self.path)
        if now < self._next_check:
            return self._policy
        self._next_check = now + CHECK_INTERVAL_S
        found = _signature(self.path)
        if found != self._loaded and found == self._changed:
            self._loaded = found
            self._reload(self.path)
            self._log_loaded(self.path)
        self._changed = found
        return self._policy

    def _reload(self, path: Path) -> None:
        try:
            self._load(path)
        except PolicyError as error:
            problems = error.problems
        else:
            return
        log.error("policy_invalid", path=str(path), problems=problems, in_force=self.digest)

    def _load(self, path: Path) -> None:
        self._policy = load_policy(path, self._check_request)
        content = self._policy.model_dump_json()
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:SHOWN_DIGEST]

    def _log_loaded(self, path: Path) -> None:
        """Log it, but not in the constructor: a worker reads its policy before logging is set up."""
        if self._logged != self.digest:
            self._logged = self.digest
            count = len(self._policy.schedules)
            log.info("policy_loaded", path=str(path), digest=self.digest, schedules=count)


def _signature(path: Path | None) -> Signature | None:
    """Return what changes with the file; None while it does not exist."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
