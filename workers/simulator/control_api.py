"""Pages for tests and people: the truth, and the levers."""

from dataclasses import asdict

from aiohttp import web

from workers.simulator.cloud import Cloud
from workers.simulator.control_messages import (
    EndJobsMessage,
    FaultMessage,
    ForeignMessage,
    OptionsMessage,
    QuotaMessage,
    StockMessage,
    read,
)
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
        """Take one fault or a list of them."""
        single = (await request.read()).lstrip()[:1] == b"{"
        found = [await read(request, FaultMessage)] if single else await read(request, list[FaultMessage])
        self.api.faults.faults += [Fault(**message.model_dump()) for message in found]
        return web.json_response({"faults": len(self.api.faults.faults)})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.api.faults.faults.clear()
        return web.json_response({"faults": 0})

    async def _stock(self, request: web.Request) -> web.Response:
        stock = await read(request, StockMessage)
        self.cloud.set_stock(stock.cluster_id, stock.zone, stock.nodes)
        return web.json_response({"ok": True})

    async def _foreign(self, request: web.Request) -> web.Response:
        foreign = await read(request, ForeignMessage)
        job = self.cloud.foreign_job(foreign.cluster_id, foreign.zone, foreign.node_count, foreign.job_action)
        return web.json_response({"job_id": job.job_id})

    async def _end_jobs(self, request: web.Request) -> web.Response:
        wanted = await read(request, EndJobsMessage)
        first_s, last_s = wanted.within_s
        return web.json_response({"jobs": self.cloud.end_jobs(first_s, last_s, wanted.count)})

    async def _quota(self, request: web.Request) -> web.Response:
        """Another quota from now on. Calls before count no more, but `used` of it, spread over a period."""
        quota = await read(request, QuotaMessage)
        self.api.quota = CallQuota(quota.calls, quota.period_s)
        now = self.cloud.now()
        for number in range(quota.used):
            self.api.quota.count(now - quota.period_s * (1 - number / quota.used))
        return web.json_response({"ok": True})

    async def _options(self, request: web.Request) -> web.Response:
        options = await read(request, OptionsMessage)
        for name, value in options.model_dump(exclude_none=True).items():
            setattr(self.api.options, name, value)
        return web.json_response({"ok": True})
