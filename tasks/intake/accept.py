"""A request arrives: it is checked, then written to the ledger. Accepted means written."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.policy.model import Policy
from config.timestamps import milliseconds, timestamp
from tasks.contract.outcome import Outcome, OutcomeError, OutcomeStatus
from tasks.contract.request import (
    REQUEST_ID,
    SCHEDULE_IDS,
    InvalidRequest,
    RequestContent,
    ScaleOutRequest,
    content_fingerprint,
    parse_request,
)
from tasks.intake.dry_run import conflict_text, dry_run, invalid
from tasks.intake.limit_check import IntakeLimits, stage_over_limit
from tasks.ledger.callers import Callers
from tasks.ledger.change_entries import Arrive, Index, Listed, Subscribe
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.event_log import log_events
from tasks.ledger.events import Event
from tasks.ledger.identity import DAY_MS
from tasks.ledger.ledger import Ledger, Lookup
from tasks.ledger.outcome_entries import Answer
from tasks.ledger.pools import pool_of
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Request
from tasks.limits.violation import Violation
from tasks.runtime import tracing
from tasks.state_machine.request_outcome import end_request

KEY_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
MAX_AHEAD_MS = 7 * DAY_MS
NOT_LOGGED = {"request_id", "resource_conf", "dry_run"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is in the ledger.

    Fields:
        new: written just now, and not by an earlier message.
        request: as it was written, if it is new.
    """

    request_id: str
    cluster_id: str
    new: bool
    request: Request | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The request has ended, or was never accepted.

    Fields:
        outcome: its outcome, or the answer to a dry run.
        new: it ended just now, as it arrived.
    """

    outcome: dict[str, Any]
    new: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class MessageTimes:
    """When a Celery message wants to be carried out (ms): its `eta` or `countdown`, and its `expires`."""

    not_before: int = 0
    expires_at: int | None = None


ANY_TIME = MessageTimes()


class Intake:
    """Accepts requests.

    Args:
        coalesce_s, deadline_s: for requests that have none of their own, in seconds.
        policy: returns the policy in force.
        poll_interval_s: of the workers; dry runs estimate their calls by it.
    """

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
        self._limits = IntakeLimits(ledger, policy)
        self._coalesce_ms = round(coalesce_s * 1000)
        self._deadline_s = deadline_s

    async def accept_message(
        self,
        task_id: str,
        arguments: tuple[Any, ...],
        fields: Mapping[str, Any],
        *,
        planner_s: float = 0.0,
        times: MessageTimes = ANY_TIME,
        revoked: bool = False,
    ) -> Accepted | Ended:
        """Accept the content of a Celery message. Never raises for bad input.

        Args:
            task_id: gets the outcome, and is the request's id if `fields` have none.
            planner_s: seconds in which no other process plans the cluster.
            times: what the message says of when.
            revoked: its producer has revoked the task: it ends as cancelled, unless it was accepted before.
        """
        given = {"request_id": task_id, **fields} if fields.get("request_id") is None else dict(fields)
        problems = []
        if arguments:
            problems.append(f"{len(arguments)} positional arguments: use keyword arguments only")
        spec = None
        try:
            spec = parse_request(given)
        except InvalidRequest as error:
            problems += error.problems
        if spec is not None and not problems:
            return await self.accept(spec, task_id, planner_s=planner_s, times=times, revoked=revoked)
        if given.get("dry_run") is True:
            return await self._answer(task_id, invalid(given, problems).model_dump(mode="json"))
        given_id = given.get("request_id")
        usable = isinstance(given_id, str) and REQUEST_ID.fullmatch(given_id)
        request_id = str(given_id) if usable else KEY_UNSAFE.sub("_", task_id)[:128]
        if request_id.startswith(SCHEDULE_IDS):
            # A rejected request takes its id, which must not be that of an occurrence.
            request_id = f"_{request_id}"[:128]

        async def stage(changes: ChangeSet) -> None:
            self.stage_rejected(changes, request_id, given, InvalidRequest(problems))

        return await self._write(request_id, lambda: content_fingerprint(given), None, task_id, stage)

    async def accept(
        self,
        spec: ScaleOutRequest,
        task_id: str | None,
        *,
        planner_s: float = 0.0,
        times: MessageTimes = ANY_TIME,
        revoked: bool = False,
        by: str | None = None,
    ) -> Accepted | Ended:
        """Write a valid request, once. The same id with other content gets a `conflict` outcome.

        What the policy forbids permanently, or now and without waiting, ends as `rejected`. A dry run is
        answered, and nothing is written.

        Args:
            by: the client that sends it, for the history.
        """
        if spec.dry_run:
            policy = self._policy()
            answer = await dry_run(self._ledger, policy, spec, poll_interval_s=self._poll_interval_s)
            return await self._answer(task_id, answer.model_dump(mode="json"))

        async def stage(changes: ChangeSet) -> Accepted | None:
            ends = _ends_at_once(spec, times, revoked, self._ledger.clock.now_ms())
            if ends is not None:
                self._stage_ended(changes, spec, *ends)
                return None
            violations = await self.violations(spec)
            begins_at = times.not_before
            return self.stage(changes, spec, violations, planner_s=planner_s, begins_at=begins_at, by=by)

        return await self._write(spec.request_id, spec.fingerprint, spec, task_id, stage)

    async def violations(self, spec: ScaleOutRequest) -> list[Violation]:
        """Return the rules of the policy that reject the request if it arrives now."""
        return await self._limits.violations(spec)

    def stage(
        self,
        changes: ChangeSet,
        spec: ScaleOutRequest,
        violations: Sequence[Violation] = (),
        *,
        planner_s: float = 0.0,
        begins_at: int = 0,
        by: str | None = None,
    ) -> Accepted | None:
        """Stage a valid request in `changes`, which may do more in that step.

        Args:
            begins_at: nothing is bought before (ms), nor before the request's own `not_before`.

        Returns None if the `violations` reject it.
        """
        now = self._ledger.clock.now_ms()
        request = self._new_request(spec, now, begins_at)
        if violations:
            stage_over_limit(changes, request, violations, now)
            return None
        request = self._limits.reserve(changes, request)
        changes.write(request)
        changes.add(Arrive(spec.cluster_id, pool_of(spec), spec.request_id, now))
        changes.add(Listed(Index.OPEN, spec.request_id, now))
        plan_at = max(now + self._coalesce_ms + round(planner_s * 1000), request.not_before)
        changes.schedule(Due(DueKind.CLUSTER, spec.cluster_id), plan_at, DueRule.NO_LATER)
        changes.schedule(Due(DueKind.REQUEST, spec.request_id), request.deadline_at)
        about = spec.model_dump(mode="json", exclude_none=True, exclude=NOT_LOGGED)
        about |= {} if by is None else {"by": by}
        changes.record(Event("request_accepted", requests=(spec.request_id,), fields=about))
        return Accepted(spec.request_id, spec.cluster_id, True, request)

    def _new_request(self, spec: ScaleOutRequest, now: int, begins_at: int = 0) -> Request:
        """Return the record of a request. Its deadline counts from when it may begin."""
        begins_at = max(begins_at, begins_at_of(spec))
        deadline_s = self._deadline_s if spec.deadline_s is None else spec.deadline_s
        return Request(
            request_id=spec.request_id,
            spec=spec.content,
            fingerprint=spec.fingerprint(),
            accepted_at=now,
            deadline_at=max(now, begins_at) + round(deadline_s * 1000),
            unassigned_nodes=spec.node_count,
            not_before=begins_at if begins_at > now else 0,
            traceparent=tracing.current(),
        )

    def _stage_ended(
        self, changes: ChangeSet, spec: ScaleOutRequest, status: OutcomeStatus, reason: Reason
    ) -> None:
        """Stage a valid request in `changes` that ends as it arrives."""
        now = self._ledger.clock.now_ms()
        request = self._new_request(spec, now)
        name = "request_cancelled" if status == "cancelled" else "request_rejected"
        changes.record(Event(name, "warning", (spec.request_id,), {"kind": reason.kind}))
        update = {"unassigned_nodes": 0, "last_reason": reason, "cancelled": status == "cancelled"}
        end_request(changes, request.model_copy(update=update), status, now)

    def stage_rejected(
        self, changes: ChangeSet, request_id: str, given: Mapping[str, Any], error: InvalidRequest
    ) -> None:
        """Stage an invalid request in `changes`, ended as `rejected`."""
        now = self._ledger.clock.now_ms()
        request = Request(
            request_id=request_id,
            fingerprint=content_fingerprint(given),
            accepted_at=now,
            deadline_at=now,
            last_reason=Reason(kind="invalid", message=str(error)),
        )
        fields = {"kind": "invalid", "problems": error.problems}
        changes.record(Event("request_rejected", "warning", (request_id,), fields))
        end_request(changes, request, "rejected", now)

    async def _write(
        self,
        request_id: str,
        fingerprint: Callable[[], str],
        spec: ScaleOutRequest | None,
        task_id: str | None,
        stage: Callable[[ChangeSet], Awaitable[Accepted | None]],
    ) -> Accepted | Ended:
        answer: Accepted | Ended | None = None
        first = True

        async def build() -> ChangeSet | None:
            nonlocal answer, first
            # Most requests are new: only after a conflict is it worth asking whether this one is.
            answer = None if first else await self._known(request_id, fingerprint(), spec, task_id)
            first = False
            if answer is not None:
                return None
            changes = ChangeSet()
            accepted = await stage(changes)
            if task_id is not None:
                changes.add(Subscribe(request_id, task_id))
            answer = accepted or Ended(changes.outcomes[0].model_dump(mode="json"), new=True)
            return changes

        await self._ledger.transact(build)
        if answer is None:
            raise RuntimeError(f"request {request_id} was neither written nor found")
        return answer

    async def _known(
        self, request_id: str, fingerprint: str, spec: ScaleOutRequest | None, task_id: str | None
    ) -> Accepted | Ended | None:
        """Return what the ledger knows of a request with this id; None if it has none."""
        lookup, outcome = await self._ledger.subscribe(request_id, fingerprint, task_id)
        if lookup is Lookup.WAITING and spec is not None:
            return Accepted(request_id, spec.cluster_id, False)
        if lookup is Lookup.ENDED and outcome is not None:
            return Ended(outcome)
        if lookup is not Lookup.CONFLICT:
            return None
        before = await self._ledger.request(request_id)
        if task_id is not None and await self._waits_for(task_id, request_id):
            # The first message of this task id was accepted: an answer would go to its caller.
            log_events([Event("request_rejected", "warning", (request_id,), {"kind": "conflict"})])
            return Accepted(request_id, spec.cluster_id if spec else "", False)
        return await self._conflict(request_id, spec, task_id, before)

    async def _answer(self, task_id: str | None, answer: dict[str, Any]) -> Ended:
        """Answer the caller alone, by the outbox if it is a Celery task."""
        if task_id is not None:
            changes = ChangeSet()
            changes.add(Answer(task_id, answer, self._ledger.clock.now_ms()))
            await self._ledger.commit(changes)
        return Ended(answer)

    async def _waits_for(self, task_id: str, request_id: str) -> bool:
        (caller,) = await Callers(self._ledger).read([task_id])
        return caller.request_id == request_id

    async def _conflict(
        self, request_id: str, spec: ScaleOutRequest | None, task_id: str | None, before: Request | None
    ) -> Ended:
        """Answer this caller alone: the first request, its key and the stream stay as they are."""
        log_events([Event("request_rejected", "warning", (request_id,), {"kind": "conflict"})])
        outcome = Outcome(
            request_id=request_id,
            cluster_id=spec.cluster_id if spec else None,
            zone=spec.zone if spec else None,
            node_role=spec.node_role if spec else None,
            status="rejected",
            nodes_requested=spec.node_count if spec else None,
            nodes_added=0,
            error=OutcomeError(code=None, kind="conflict", message=conflict_text(request_id, spec, before)),
            requested_by=spec.requested_by if spec else None,
            accepted_at=None,
            finished_at=timestamp(self._ledger.clock.now_ms()),
            duration_s=0.0,
        )
        return await self._answer(task_id, outcome.model_dump(mode="json"))


def begins_at_of(spec: RequestContent) -> int:
    """Return before when (ms) nothing is bought for a request; 0 if it does not say."""
    return 0 if spec.not_before is None else milliseconds(spec.not_before)


def _ends_at_once(
    spec: ScaleOutRequest, times: MessageTimes, revoked: bool, now: int
) -> tuple[OutcomeStatus, Reason] | None:
    """Return how a request ends that must not be accepted any more; None for all others."""
    begins_at = max(times.not_before, begins_at_of(spec))
    if begins_at - now > MAX_AHEAD_MS:
        message = f"not_before {timestamp(begins_at)} is more than {MAX_AHEAD_MS // DAY_MS} days ahead"
        return "rejected", Reason(kind="invalid", message=message)
    if revoked:
        message = "its task was revoked before the request was accepted"
        return "cancelled", Reason(kind="cancelled", message=message)
    if times.expires_at is not None and now > times.expires_at:
        message = f"its message expired at {timestamp(times.expires_at)}, before the request was accepted"
        return "rejected", Reason(kind="expired", message=message)
    return None
