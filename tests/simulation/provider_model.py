"""The provider: a hidden truth, and calls that take their time, get lost, or come too late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.ehpc.errors import EhpcError, InDoubt, NotSent, reason
from tasks.ehpc.models import JobAccepted, JobPage, NodePage
from tasks.ehpc.replies import Reply, jobs_response, nodes_response
from tasks.runtime.clock import MAX_STEP_MS
from tests.simulation.quirks import Quirks
from workers.simulator.cloud import Cloud, Job
from workers.simulator.options import SimulatorOptions
from workers.simulator.quota import CallQuota
from workers.simulator.signature_check import Refused

if TYPE_CHECKING:
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

JOBS_OF_A_PAGE = 3  # unless the world says otherwise: fewer than are asked for, so that listings have pages
NODES_OF_A_PAGE = 100


@dataclass(eq=False)
class Sending:
    """One addNodes call under way. `call_outcome`: what the world will do to it."""

    process: Worker
    operation_id: str
    zone: str
    body: bytes
    sent_at: datetime
    left_at: int
    answer: asyncio.Future[JobAccepted]
    call_outcome: str = "fine"
    arrives_at: int = 0
    arrived: bool = False
    reply: JobAccepted | EhpcError | None = None
    job_id: str | None = None
    over: bool = False


class Provider:
    """What is true, whatever anybody is told."""

    def __init__(self, world: World, *, quota_calls: int, quota_period_s: float) -> None:
        self.world = world
        options = SimulatorOptions(
            log_lag_s=world.settings.log_lag_s * 0.8,
            job_duration_s="4" if world.calm else "20-90",
            node_ids_in_log=world.choose(["ended", "never", "always"]),
            seed=world.seed,
        )
        self.options = options
        self.cloud = Cloud(options, self.now)
        self.quota = CallQuota(quota_calls, quota_period_s)
        self._by_right_clocks = CallQuota(quota_calls, quota_period_s)
        self.sendings: list[Sending] = []
        self.refused_by_right_clock = 0
        self.quirks = Quirks()
        self.jobs_of_a_page = JOBS_OF_A_PAGE
        self.counted_too_many = 0
        self.hidden_cluster = ""
        self.polls: list[tuple[int, int]] = []
        self.nodes_refused = False
        self.log_refused = False
        self.log_away_in: frozenset[str] = frozenset()
        self.single_lookups = 0
        self._noted_at: dict[str, int] = {}
        self.cluster_listings: list[tuple[int, datetime]] = []

    def now(self) -> float:
        """The provider's own time in seconds, whose clock may step."""
        return self.world.clock.now_ms() / 1000 + self.world.skew_s

    def call(self, process: Worker) -> None:
        """A call has arrived. Raises what the provider says when the account's calls are used up."""
        now = self.world.clock.now_ms()
        # What was counted by a clock that was behind leaves our own count too early.
        is_right = abs(process.clock.now_ms() - now) <= MAX_STEP_MS
        too_many = is_right and not self._by_right_clocks.count(now / 1000)
        if not self.quota.count(now / 1000):
            self.refused_by_right_clock += too_many
            raise reason(2500, "QuotaExceeded, API call quota of this hour is used up")

    def leave(self, process: Worker, zone: str, body: bytes, sent_at: datetime) -> Sending:
        world = self.world
        sending = Sending(
            process=process,
            operation_id=world.invariants.operation_being_sent(zone, body, sent_at, process.clock),
            zone=zone,
            body=body,
            sent_at=sent_at,
            left_at=world.clock.now_ms(),
            answer=world.loop.create_future(),
            call_outcome=world.fate_of_sending(),
            arrives_at=world.clock.now_ms() + world.choose([0, 0, 0, 0, 20_000, 45_000, 58_000, 70_000]),
        )
        self.sendings.append(sending)
        world.say(f"{process.name} sends {sending.operation_id} ({sending.call_outcome})")
        return sending

    def arrive(self, sending: Sending) -> None:
        """The call reaches the provider, and is carried out unless it is refused."""
        sending.arrived = True
        if sending.call_outcome == "lost on the way":
            sending.over = True
            return
        try:
            self.call(sending.process)
            sending.reply = self._carry_out(sending)
        except Refused as refused:
            sending.reply = reason(refused.ret_code, refused.message)
        except EhpcError as error:
            sending.reply = error
        self.world.say(f"{sending.operation_id} arrives: {sending.reply}")
        if sending.call_outcome == "reply lost":
            sending.over = True
        elif sending.call_outcome == "unclear reply":
            sending.reply = InDoubt("the reply could not be read")

    def _carry_out(self, sending: Sending) -> JobAccepted | EhpcError:
        now = self.now()
        if now - sending.sent_at.timestamp() > self.world.settings.signature_ttl_s:
            return reason(1300, "RequestHasExpired")
        if sending.call_outcome.startswith("refused "):
            return reason(int(sending.call_outcome.split()[1]), self.world.refusal_message)
        if sending.call_outcome == "quota":
            return reason(2500, "the API call quota of this hour is used up")
        if sending.call_outcome == "internal error":
            return reason(5000, "InternalError")
        if self._changed_in_this_second(json.loads(sending.body)["cluster_id"], now):
            return reason(1400, "PermissionDenied, resource is in transition")
        plan = self.cloud.plan_job()
        plan.listed = sending.call_outcome != "never listed"
        plan.odd_status = "scaling" if sending.call_outcome == "odd status" else None
        if sending.call_outcome == "job fails":
            plan.made, plan.error_codes = 1, "5200"
        job = self.cloud.add_nodes(sending.zone, json.loads(sending.body), plan)
        sending.job_id = job.job_id
        if sending.call_outcome == "names another job" and (known := self._known_jobs()):
            return JobAccepted(self.world.choose(known))
        return (
            reason(5100, "ServerBusy") if sending.call_outcome == "made but busy" else JobAccepted(job.job_id)
        )

    def _known_jobs(self) -> list[str]:
        """Those that the ledger has given to an operation: of any other, nobody can know better."""
        made = [sending.job_id for sending in self.sendings if sending.job_id]
        return [job_id for job_id in made if self.world.server.exists(f"scaleout:job:{job_id}")]

    def _changed_in_this_second(self, cluster_id: str, now: float) -> bool:
        """The log's times are whole seconds: whose a node is that came just then, nobody could tell."""
        cluster = self.cloud.clusters.get(cluster_id)
        job = None if cluster is None else cluster.job
        return job is not None and int(job.ends_at) == int(now)

    def give_answer(self, sending: Sending) -> None:
        """The reply reaches the worker, if it still waits."""
        sending.over = True
        if sending.answer.done():
            return
        if isinstance(sending.reply, JobAccepted):
            sending.answer.set_result(sending.reply)
        else:
            assert sending.reply is not None
            sending.answer.set_exception(sending.reply)

    def jobs_of(self, operation_id: str) -> list[str]:
        return [
            sending.job_id
            for sending in self.sendings
            if sending.operation_id == operation_id and sending.job_id
        ]

    def owner(self, job_id: str) -> str | None:
        return next((sending.operation_id for sending in self.sendings if sending.job_id == job_id), None)

    def listed(
        self, zone: str, start: datetime | None, cluster_id: str | None, job_ids: str | None
    ) -> list[Job]:
        jobs = self.cloud.operations(zone, None if start is None else start.timestamp(), None)
        if cluster_id is not None:
            jobs = [job for job in jobs if job.cluster_id == cluster_id and not self._hides(job)]
        if job_ids is not None:
            jobs = [job for job in jobs if job.job_id == job_ids]
        return jobs

    def _hides(self, job: Job) -> bool:
        """A replica of the log that lags for some minutes, say, answers after one that does not.

        Only what an operation has noted: of a job that nobody has seen, nobody can know better.
        """
        if not self.quirks.hides_jobs_until_s:
            return False
        now, operations = self.world.clock.now_ms(), self.world.invariants.operations.values()
        if any(one.job_id == job.job_id for operation in operations for one in operation.candidates):
            since = self._noted_at.setdefault(job.job_id, now)
            return now - since < 1000 * self.quirks.hides_jobs_until_s
        return False

    def row(self, job: Job) -> dict[str, Any]:
        status = self.cloud.status(job)
        ended = status in ("successful", "failed")
        shown = self.options.node_ids_in_log
        ids = job.node_ids if shown == "always" or (ended and shown == "ended") else []
        return {
            "job_id": job.job_id,
            "job_action": job.job_action,
            "create_time": _text(job.created_at),
            "status": status,
            "status_time": _text(job.ends_at if ended else job.created_at),
            "error_codes": job.error_codes if ended else "",
            "resource_ids": " ".join([job.cluster_id, *ids]),
        }


class SimulatedApi:
    """Stands where the client stands; each call is a step of its process."""

    def __init__(self, process: Worker, provider: Provider) -> None:
        self._process = process
        self._provider = provider

        # What the client learns from each reply.
        self.skew_s: float | None = None
        self.skew_at_ms = 0

    async def add_nodes(
        self, zone: str, body: bytes, sent_at: datetime, may_send: Callable[[], bool]
    ) -> JobAccepted:
        await self._process.turn("addNodes")
        if not may_send():
            raise NotSent("too late")
        if self._provider.world.chance("connection refused"):
            raise NotSent("connection refused")
        sending = self._provider.leave(self._process, zone, body, sent_at)
        self._process.point("addNodes has left")
        try:
            return await self._process.wait(sending.answer)
        finally:
            if not self._process.alive:
                sending.answer.cancel()

    async def list_jobs(
        self,
        zone: str,
        *,
        at: datetime,  # noqa: ARG002
        offset: int,
        newest_first: bool,
        start_time: datetime | None = None,
        resource_ids: str | None = None,
        job_ids: str | None = None,
    ) -> JobPage:
        await self._read("list operations")
        if self._provider.log_refused and resource_ids is not None:
            raise reason(2100, "ResourceNotFound")
        if zone in self._provider.log_away_in:
            self._provider.polls.append((self._provider.world.clock.now_ms(), offset))
            raise reason(5000, "InternalError")
        jobs = self._provider.listed(zone, start_time, resource_ids, job_ids)
        if resource_ids is None and job_ids is None:
            self._provider.polls.append((self._provider.world.clock.now_ms(), offset))
        if job_ids is not None:
            self._provider.single_lookups += 1
        if resource_ids is not None and start_time is not None:
            self._provider.cluster_listings.append((self._provider.world.clock.now_ms(), start_time))
        quirks, of_zone = self._provider.quirks, job_ids is None and resource_ids is None
        strange = list(quirks.odd_rows if of_zone else () if job_ids else quirks.odd_rows_of_cluster)
        found: list[Any] = [*strange, *(jobs[::-1] if newest_first else jobs)]
        page = found[offset : offset + self._provider.jobs_of_a_page]
        if of_zone:
            found = [one for one in found if getattr(one, "cluster_id", "") != self._provider.hidden_cluster]
        surplus = self._provider.counted_too_many if of_zone else 0
        unfiltered = len(self._provider.listed(zone, None, None, None)) + len(strange)
        rows = [quirks.row(self._provider.row(one)) if isinstance(one, Job) else one for one in page]
        total = quirks.count(of_all=len(found) + surplus, of_page=len(rows), unfiltered=unfiltered)
        answer = jobs_response(self._whole({"job_set": rows, "total_count": total}))
        await self._reply("list operations")
        return answer

    async def list_nodes(self, zone: str, cluster_id: str, *, at: datetime, offset: int) -> NodePage:  # noqa: ARG002
        await self._read("list nodes")
        if self._provider.nodes_refused:
            raise reason(2100, "ResourceNotFound")
        quirks, now = self._provider.quirks, self._provider.now()
        nodes = [
            node
            for node in self._provider.cloud.nodes(zone, cluster_id)
            if node.create_time + quirks.node_lag_s <= now and not quirks.hides_nodes
        ]
        rows = [
            {
                "node_id": node.node_id,
                "role": quirks.role if quirks.role and node.role == "compute" else node.role,
                "status": quirks.node_status,
                "create_time": _text(node.create_time),
            }
            for node in nodes[offset : offset + NODES_OF_A_PAGE]
        ]
        total = quirks.count(of_all=len(nodes), of_page=len(rows), unfiltered=len(nodes))
        page = nodes_response(self._whole({"hpc_app_nodes_set": rows, "total_count": total}))
        await self._reply("list nodes")
        return page

    def _whole(self, content: dict[str, Any]) -> Reply:
        """As it comes over the wire: the rows are read by the client's own code."""
        ours = self._process.clock.now_ms()
        self.skew_s, self.skew_at_ms = self._provider.now() - ours / 1000, ours
        return Reply(200, json.dumps({"ret_code": 0, **content}).encode(), skew_s=self.skew_s)

    async def _read(self, label: str) -> None:
        await self._process.turn(label)
        world = self._provider.world
        if world.chance("read fails"):
            raise world.choose([InDoubt("no reply"), NotSent("refused"), reason(5100, "busy")])
        self._provider.call(self._process)

    async def _reply(self, label: str) -> None:
        if self._provider.world.chance("read is slow"):
            await self._process.turn(f"reply to {label}")


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
