"""Takes requests in: checked first, then written to the ledger; accepted means written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.policy.model import Policy
from config.timestamps import timestamp
from tasks.contract.outcome import Outcome, OutcomeError
from tasks.contract.request import (
    REQUEST_ID,
    InvalidRequest,
    ScaleOutRequest,
    content_fingerprint,
    parse_request,
)
from tasks.intake.dry_run import CONFLICT, invalid, rehearse
from tasks.intake.limit_check import IntakeGuard, turned_away
from tasks.ledger.change_set import Changes, Committed, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.ledger import Joined, Ledger
from tasks.ledger.records import Refusal, Request, pool_of
from tasks.ledger.transactions import tell
from tasks.limits.violation import Violation
from tasks.state_machine.request_outcome import end_request

KEY_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
ATTEMPTS = 5
NOT_TOLD = {"request_id", "resource_conf", "dry_run"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is in the ledger; whoever waits is told when it ends. `new`: written just now."""

    request_id: str
    cluster_id: str
    new: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The request has ended, or was never taken; this is its outcome, or the answer to a dry run."""

    outcome: dict[str, Any]


class _Overtaken(Exception):  # noqa: N818 - named by what happened
    """Others were faster, and left no room in flight for this request."""


class Intake:
    """`coalesce_s`, `deadline_s`: seconds, for requests that do not say otherwise; `policy`: in force now."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        coalesce_s: float,
        deadline_s: float,
        policy: Callable[[], Policy] = Policy,
        poll_interval_s: float = 5.0,
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._poll_interval_s = poll_interval_s
        self._guard = IntakeGuard(ledger, policy)
        self._coalesce_ms = round(coalesce_s * 1000)
        self._deadline_s = deadline_s

    async def receive(
        self, task_id: str, arguments: tuple[Any, ...], fields: Mapping[str, Any], *, planner_s: float = 0.0
    ) -> Accepted | Ended:
        """A Celery message: its outcome, or the promise of one to `task_id`. Never raises for bad input.

        `planner_s`: for so long the caller has the planning of the cluster to itself.
        """
        given = {"request_id": task_id, **fields} if fields.get("request_id") is None else dict(fields)
        problems = []
        if arguments:
            problems.append(f"{len(arguments)} positional arguments: give keyword arguments only")
        request = None
        try:
            request = parse_request(given)
        except InvalidRequest as error:
            problems += error.problems
        if (request is None or problems) and given.get("dry_run") is True:
            return Ended(invalid(given, problems).model_dump(mode="json"))
        if request is None or problems:
            return await self._refuse(task_id, given, InvalidRequest(problems))
        return await self.accept(request, task_id, planner_s=planner_s)

    async def accept(
        self, form: ScaleOutRequest, task_id: str | None, *, planner_s: float = 0.0
    ) -> Accepted | Ended:
        """Write a valid request, once. The same id with other content gives a `conflict` outcome.

        What the policy refuses for good, or now and without waiting, ends as `rejected`. A dry run is
        answered, and nothing is written.
        """
        if form.dry_run:
            told = await rehearse(self._ledger, self._policy(), form, poll_interval_s=self._poll_interval_s)
            return Ended(told.model_dump(mode="json"))
        changes = Changes()
        request, accepted = self.enter(changes, form, await self.refused(form), planner_s=planner_s)
        if task_id is not None and accepted is not None:
            changes.waiters.append((form.request_id, task_id))
        try:
            return await self._write(request, changes, task_id, accepted)
        except _Overtaken:
            return await self.accept(form, task_id, planner_s=planner_s)

    async def refused(self, form: ScaleOutRequest) -> list[Violation]:
        """The rules of the policy that end the request if it comes in now."""
        return await self._guard.refuses(form)

    def enter(
        self,
        changes: Changes,
        form: ScaleOutRequest,
        refused: Sequence[Violation] = (),
        *,
        planner_s: float = 0.0,
    ) -> tuple[Request, Accepted | None]:
        """Put a valid request into `changes`, which may do more in that step; ended if it is `refused`."""
        now = self._ledger.clock.now_ms()
        deadline_s = self._deadline_s if form.deadline_s is None else form.deadline_s
        request = Request(
            request_id=form.request_id,
            asked=form,
            fingerprint=form.fingerprint(),
            accepted_at=now,
            deadline_at=now + round(deadline_s * 1000),
            wanted=form.node_count,
        )
        if refused:
            return turned_away(changes, request, refused, now), None
        changes.opened[form.request_id] = now
        changes.put(self._guard.admit(changes, request))
        changes.arrivals.append((form.cluster_id, pool_of(form), form.request_id, now))
        plan_at = now + self._coalesce_ms + round(planner_s * 1000)
        changes.sooner[Due(DueKind.CLUSTER, form.cluster_id)] = plan_at
        changes.due[Due(DueKind.REQUEST, form.request_id)] = request.deadline_at
        about = form.model_dump(mode="json", exclude_none=True, exclude=NOT_TOLD)
        changes.tell(Event("request_accepted", requests=(form.request_id,), fields=about))
        return request, Accepted(form.request_id, form.cluster_id, True)

    async def _refuse(self, task_id: str, given: Mapping[str, Any], error: InvalidRequest) -> Ended:
        """An invalid request ends as it comes, under its own id if that can be used, else the task's."""
        given_id = given.get("request_id")
        usable = isinstance(given_id, str) and REQUEST_ID.fullmatch(given_id)
        request_id = str(given_id) if usable else KEY_UNSAFE.sub("_", task_id)[:128]
        changes = Changes()
        ended = self.enter_refused(changes, request_id, given, error)
        answer = await self._write(ended, changes, task_id, None)
        if isinstance(answer, Ended):
            return answer
        raise RuntimeError(f"request {request_id} is waiting, though it was refused")

    def enter_refused(
        self, changes: Changes, request_id: str, given: Mapping[str, Any], error: InvalidRequest
    ) -> Request:
        """Put an invalid request into `changes`, ended as `rejected`."""
        now = self._ledger.clock.now_ms()
        request = Request(
            request_id=request_id,
            fingerprint=content_fingerprint(given),
            accepted_at=now,
            deadline_at=now,
            last_refusal=Refusal(kind="invalid", message=str(error)),
        )
        changes.tell(
            Event(
                "request_refused", "warning", (request_id,), {"kind": "invalid", "problems": error.problems}
            )
        )
        return end_request(changes, request, "rejected", now)

    async def _write(
        self, request: Request, changes: Changes, task_id: str | None, accepted: Accepted | None
    ) -> Accepted | Ended:
        for _ in range(ATTEMPTS):
            word = await self._ledger.commit(changes)
            if word is Committed.OVER:
                raise _Overtaken
            if word is Committed.OK:
                tell(changes)
                return accepted or Ended(changes.outcomes[0].model_dump(mode="json"))
            known, outcome = await self._ledger.join(request.request_id, request.fingerprint, task_id)
            if known is Joined.WAITING and request.asked is not None:
                return Accepted(request.request_id, request.asked.cluster_id, False)
            if known is Joined.ENDED and outcome is not None:
                return Ended(outcome)
            if known is Joined.CONFLICT:
                return self._conflict(request)
        raise RuntimeError(f"request {request.request_id} was neither written nor found")

    def _conflict(self, request: Request) -> Ended:
        """The first request, its key and the stream stay untouched; only this caller is told."""
        now = timestamp(self._ledger.clock.now_ms())
        form = request.asked
        message = CONFLICT.format(request.request_id)
        tell(
            Changes(events=[Event("request_refused", "warning", (request.request_id,), {"kind": "conflict"})])
        )
        outcome = Outcome(
            request_id=request.request_id,
            cluster_id=form.cluster_id if form else None,
            zone=form.zone if form else None,
            node_role=form.node_role if form else None,
            status="rejected",
            nodes_requested=form.node_count if form else None,
            nodes_added=0,
            error=OutcomeError(code=None, kind="conflict", message=message),
            requested_by=form.requested_by if form else None,
            accepted_at=None,
            finished_at=now,
            duration_s=0.0,
        )
        return Ended(outcome.model_dump(mode="json"))
