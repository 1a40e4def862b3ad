"""Calls the simulator over HTTP as a client does, signed, by a clock in the test's hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import SecretStr
from yarl import URL

from tasks.ehpc.signature import Credentials, SigningRules, signed_query
from workers.simulator.server import RunningSimulator

ZONE = "jn1a"


@dataclass
class Clock:
    """The provider's time in seconds."""

    now: float = 1_649_689_213.0


@dataclass(frozen=True)
class Reply:
    """A reply that has come to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: URL

    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Caller:
    running: RunningSimulator
    session: aiohttp.ClientSession
    clock: Clock

    async def call(
        self, method: str, action: str, params: dict[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        path = f"/api/{action}"
        options = self.running.cloud.options
        key = Credentials(options.access_key_id, SecretStr(options.secret_access_key))
        at = datetime.fromtimestamp(int(self.clock.now), UTC)
        query = signed_query(method, path, {"zone": ZONE, **(params or {})}, body, at, key, SigningRules())
        url = URL(f"{self.running.url}{path}?{query}", encoded=True)
        async with self.session.request(method, url, data=body or None, allow_redirects=False) as reply:
            return Reply(reply.status, reply.headers, await reply.read(), url)

    async def get(self, action: str, **params: object) -> dict[str, Any]:
        return (await self.call("GET", action, {name: str(value) for name, value in params.items()})).json()

    async def post(self, action: str, content: object) -> dict[str, Any]:
        return (await self.call("POST", action, body=json.dumps(content).encode())).json()

    async def send_add_nodes(self, cluster_id: str = "ehpc-a", count: int = 1) -> Reply:
        """addNodes, whatever comes back."""
        content = {"cluster_id": cluster_id, "node_count": str(count), "zone": ZONE}
        return await self.call("POST", "cluster/addNodes", body=json.dumps(content).encode())

    async def add_nodes(self, cluster_id: str = "ehpc-a", count: int = 1) -> dict[str, Any]:
        return (await self.send_add_nodes(cluster_id, count)).json()

    async def control(self, page: str, content: object) -> Reply:
        async with self.session.post(f"{self.running.url}/_sim/{page}", json=content) as reply:
            return Reply(reply.status, reply.headers, await reply.read(), reply.url)

    async def fault(self, kind: str, **fields: object) -> None:
        assert (await self.control("faults", {"kind": kind, **fields})).status == 200

    async def truth(self) -> dict[str, Any]:
        async with self.session.get(f"{self.running.url}/_sim/truth") as reply:
            content: dict[str, Any] = await reply.json()
            return content

    async def nodes(self) -> int:
        """How many nodes there are in truth once all jobs have ended."""
        self.clock.now += 3600
        return sum(len(cluster["nodes"]) for cluster in (await self.truth())["clusters"].values())
