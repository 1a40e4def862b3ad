"""`GET /metrics`: what is true of the ledger, in the text format of Prometheus."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tasks.metrics.families import BY_NAME, Family, Sample
from workers.gateway.house import house_of


async def metrics(request: web.Request) -> web.Response:
    samples = await house_of(request).metrics.samples()
    registry = CollectorRegistry()
    registry.register(_Collected(samples))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Collected:
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterable[Any]:
        families: dict[str, Any] = {}
        for sample in self._samples:
            if sample.family not in families:
                families[sample.family] = _family(BY_NAME[sample.family])
            families[sample.family].add_metric(sample.labels, float(sample.value))
        return families.values()


def _family(family: Family) -> Any:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    return kind(family.name, family.about, labels=family.labels)
