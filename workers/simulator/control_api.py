"""Pages for tests and people: the truth, and the levers."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from workers.simulator.cloud import ADD_NODES, Cloud
from workers.simulator.faults import Fault
from workers.simulator.http_api import EhpcApi
from workers.simulator.quota import CallQuota


class ControlApi:
    """`/_sim/…`, without signature."""

    def __init__(self, api: EhpcApi, cloud: Cloud) -> None:
        self.api = api
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_sim/health", self._health),
            web.get("/_sim/truth", self._truth),
            web.get("/_sim/calls", self._calls),
            web.post("/_sim/faults", self._add_faults),
            web.delete("/_sim/faults", self._clear_faults),
            web.post("/_sim/stock", self._stock),
            web.post("/_sim/foreign", self._foreign),
            web.post("/_sim/end-jobs", self._end_jobs),
            web.post("/_sim/quota", self._quota),
            web.post("/_sim/options", self._options),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True, "jobs": len(self.cloud.jobs)})

    async def _truth(self, _: web.Request) -> web.Response:
        """Return what was really made, whatever responses said."""
        self.cloud.end_due_jobs()
        quota = self.api.quota
        return web.json_response(
            {
                "now": self.cloud.now(),
                "calls": {
                    "total": sum(self.api.calls.values()),
                    "by_action": dict(self.api.calls),
                    "refused_by_quota": quota.refused,
                    "max_in_any_window": quota.most_in_a_window,
                },
                "clusters": {
                    name: {"zone": cluster.zone, "nodes": [asdict(node) for node in cluster.nodes.values()]}
                    for name, cluster in self.cloud.clusters.items()
                },
                "jobs": [
                    {**asdict(job), "status": self.cloud.status(job)} for job in self.cloud.jobs.values()
                ],
                "add_nodes_calls": self.api.add_nodes_calls,
            }
        )

    async def _calls(self, _: web.Request) -> web.Response:
        """Every call of the API as it arrived: when, what, and the ret_code it was given."""
        return web.json_response(self.api.arrivals)

    async def _add_faults(self, request: web.Request) -> web.Response:
        content = await request.json()
        try:
            faults = [Fault.from_json(item) for item in (content if isinstance(content, list) else [content])]
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        self.api.faults.faults += faults
        return web.json_response({"faults": len(self.api.faults.faults)})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.api.faults.faults.clear()
        return web.json_response({"faults": 0})

    async def _stock(self, request: web.Request) -> web.Response:
        content: dict[str, Any] = await request.json()
        self.cloud.set_stock(content.get("cluster_id"), content.get("zone", "jn1a"), content["nodes"])
        return web.json_response({"ok": True})

    async def _foreign(self, request: web.Request) -> web.Response:
        content: dict[str, Any] = await request.json()
        job = self.cloud.foreign_job(
            content["cluster_id"],
            content.get("zone", "jn1a"),
            content["node_count"],
            content.get("job_action", ADD_NODES),
        )
        return web.json_response({"job_id": job.job_id})

    async def _end_jobs(self, request: web.Request) -> web.Response:
        content: dict[str, Any] = await request.json()
        first_s, last_s = content["within_s"]
        return web.json_response({"jobs": self.cloud.end_jobs(first_s, last_s, content.get("count"))})

    async def _quota(self, request: web.Request) -> web.Response:
        """Another quota from now on. Calls before count no more, but `used` of it, spread over a period."""
        content: dict[str, Any] = await request.json()
        self.api.quota = CallQuota(content["calls"], content["period_s"])
        now, used = self.cloud.now(), content.get("used", 0)
        for number in range(used):
            self.api.quota.count(now - content["period_s"] * (1 - number / used))
        return web.json_response({"ok": True})

    async def _options(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            if name not in ("job_duration_s", "log_lag_s", "latency_s", "node_ids_in_log", "clock_skew_s"):
                raise web.HTTPBadRequest(text=f"{name} cannot be changed while the simulator runs")
            setattr(self.api.options, name, value)
        return web.json_response({"ok": True})
