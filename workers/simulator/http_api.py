"""The actions of the EHPC API over HTTP."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

from workers.simulator.cloud import Cloud, Job, JobPlan
from workers.simulator.faults import Fault, FaultPlan
from workers.simulator.options import SimulatorOptions
from workers.simulator.quota import CallQuota
from workers.simulator.signature_check import Refused, check_signature
from workers.simulator.wire_faults import faulty_answer

REPLY_NAMES = {
    "addNodes": "HpcClusterAddClusterNodesResponse",
    "deleteNodes": "HpcClusterDeleteClusterNodesResponse",
    "operation": "HpcOperationListOperationResponse",
    "listNodes": "HpcClusterListClusterNodesResponse",
}

Content = dict[str, Any]


class EhpcApi:
    """Checks every call as the provider does, carries it out, and lets the faults have their way."""

    def __init__(self, options: SimulatorOptions, cloud: Cloud, faults: FaultPlan) -> None:
        self.options = options
        self.cloud = cloud
        self.faults = faults
        self.quota = CallQuota(options.quota_calls, options.quota_period_s)
        self.calls: Counter[str] = Counter()
        self.add_nodes_calls: list[Content] = []
        self.arrivals: list[tuple[float, str, int]] = []
        self._stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/cluster/addNodes", self._handler("addNodes", self._add_nodes)),
            web.post("/api/cluster/deleteNodes", self._handler("deleteNodes", self._delete_nodes)),
            web.get("/api/operation", self._handler("operation", self._operations)),
            web.get("/api/cluster/listNodes", self._handler("listNodes", self._list_nodes)),
        ]

    async def stop(self, _: web.Application) -> None:
        """Let hanging calls go."""
        self._stopping.set()

    def _handler(
        self, action: str, carry_out: Callable[[web.Request, bytes, JobPlan], Content]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            now = self.cloud.now()
            self.calls[action] += 1
            body = await request.read()
            cluster_id = _cluster_of(request, body)
            fault = self.faults.draw(action, cluster_id, of_the_job=False)
            content: Content = {"ret_code": 0}
            try:
                self._check(request, body, now)
                if fault is None or fault.made or fault.kind == "latency":
                    plan = self._plan(action, cluster_id)
                    content = carry_out(request, body, plan)
            except Refused as refused:
                content = {"ret_code": refused.ret_code, "message": refused.message}
                # What would have been refused anyway is refused, whatever fault was to come.
                fault = None if fault is None or fault.made else fault
            if action == "addNodes":
                self._note(now, cluster_id, body, content, fault)
            self.arrivals.append((now, _about(action, request), content["ret_code"]))
            content = {"action": REPLY_NAMES[action], **content}
            await asyncio.sleep(self.options.latency_s)
            return await self._answer(request, content, fault)

        return handle

    def _check(self, request: web.Request, body: bytes, now: float) -> None:
        if not self.quota.count(now):
            raise Refused(2500, "QuotaExceeded, API call quota of this hour is used up")
        raw_path, _, raw_query = request.raw_path.partition("?")
        check_signature(self.options, request.method, raw_path, raw_query, body, now)

    def _plan(self, action: str, cluster_id: str | None) -> JobPlan:
        plan = self.cloud.plan_job()
        if action != "addNodes":
            return plan
        fault = self.faults.draw(action, cluster_id, of_the_job=True)
        match fault.kind if fault else None:
            case "fail_job":
                plan.made, plan.error_codes = fault.nodes_made, str(fault.code)  # type: ignore[union-attr]
            case "job_duration":
                plan.duration_s = fault.seconds  # type: ignore[union-attr]
            case "unknown_status":
                plan.odd_status = "scaling"
            case "never_listed":
                plan.listed = False
        return plan

    def _add_nodes(self, request: web.Request, body: bytes, plan: JobPlan) -> Content:
        job = self.cloud.add_nodes(request.query["zone"], _object(body), plan)
        return {"job_id": job.job_id, "ret_code": 0}

    def _delete_nodes(self, request: web.Request, body: bytes, plan: JobPlan) -> Content:
        job = self.cloud.delete_nodes(request.query["zone"], _object(body), plan)
        return {"job_id": job.job_id, "ret_code": 0}

    def _operations(self, request: web.Request, _body: bytes, _plan: JobPlan) -> Content:
        query = request.query
        wanted = set((query.get("job_ids") or query.get("jobs") or "").replace(" ", ",").split(",")) - {""}
        jobs = self.cloud.operations(
            query["zone"],
            _time(query.get("start_time")),
            _time(query.get("end_time")),
            job_ids=wanted,
            cluster_id=query.get("resource_ids") or None,
        )
        if job_action := query.get("job_action"):
            jobs = [job for job in jobs if job.job_action == job_action]
        if status := query.get("status"):
            jobs = [job for job in jobs if self.cloud.status(job) == status]
        if query.get("reverse") == "1":
            jobs = jobs[::-1]
        page = _page(request, jobs)
        return {"ret_code": 0, "total_count": len(jobs), "job_set": [self._row(job) for job in page]}

    def _row(self, job: Job) -> Content:
        status = self.cloud.status(job)
        ended = status in ("successful", "failed")
        shows_ids = self.options.node_ids_in_log == "always" or (
            ended and self.options.node_ids_in_log == "ended"
        )
        return {
            "job_id": job.job_id,
            "job_action": job.job_action,
            "create_time": _text(job.created_at),
            "status": status,
            "status_time": _text(job.ends_at if ended else job.created_at),
            "error_codes": job.error_codes if ended else "",
            "resource_ids": " ".join([job.cluster_id, *(job.node_ids if shows_ids else [])]),
            "owner": "usr-simulated",
            "submitter": "simulator",
            "action_describe": "",
            "task_count": None,
        }

    def _list_nodes(self, request: web.Request, _body: bytes, _plan: JobPlan) -> Content:
        cluster_id = request.query.get("cluster_id")
        if not cluster_id:
            raise Refused(1100, "missing parameter [cluster_id]")
        nodes = self.cloud.nodes(request.query["zone"], cluster_id)
        rows = [
            {
                "node_id": node.node_id,
                "role": node.role,
                "status": "active",
                "create_time": _text(node.create_time),
                "private_ip": "",
                "name": node.node_id,
            }
            for node in _page(request, nodes)
        ]
        return {"ret_code": 0, "total_count": len(nodes), "hpc_app_nodes_set": rows}

    def _note(
        self, now: float, cluster_id: str | None, body: bytes, content: Content, fault: Fault | None
    ) -> None:
        answer = fault.kind if fault is not None and fault.kind != "latency" else content["ret_code"]
        self.add_nodes_calls.append(
            {
                "at": now,
                "cluster_id": cluster_id,
                "body": body.decode("utf-8", "replace"),
                "answer": answer,
                "job_id": content.get("job_id"),
            }
        )

    async def _answer(
        self, request: web.Request, content: Content, fault: Fault | None
    ) -> web.StreamResponse:
        headers = {"Date": formatdate(self.cloud.now(), usegmt=True)}
        if fault is not None and fault.kind != "latency":
            return await faulty_answer(request, content, fault, headers, self._sleep)
        if fault is not None:
            await self._sleep(fault.seconds)
        return web.json_response(content, headers=headers)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _about(action: str, request: web.Request) -> str:
    """The action, and for a listing what it was narrowed to: `operation?job_ids`."""
    narrowed = next((name for name in ("job_ids", "jobs", "resource_ids") if request.query.get(name)), None)
    return action if action != "operation" or narrowed is None else f"{action}?{narrowed}"


def _cluster_of(request: web.Request, body: bytes) -> str | None:
    if request.method == "GET":
        return request.query.get("cluster_id") or request.query.get("resource_ids")
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content.get("cluster_id") if isinstance(content, dict) else None


def _object(body: bytes) -> Content:
    try:
        content = json.loads(body)
    except ValueError:
        raise Refused(1100, "InvalidRequestFormat, the body is not JSON") from None
    if not isinstance(content, dict):
        raise Refused(1100, "InvalidRequestFormat, the body is no object")
    return content


def _page(request: web.Request, rows: list[Any]) -> list[Any]:
    try:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "10"))
    except ValueError:
        raise Refused(1100, "InvalidParameter, offset or limit") from None
    return rows[max(offset, 0) : max(offset, 0) + min(max(limit, 0), 100)]


def _time(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused(1100, f"InvalidParameter, time [{text}]") from None


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
