"""A gateway in a process of its own, and calls of it as a client makes them."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.processes import Process, process

TIMEOUT_S = 70.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Gateway:
    """`token`: of the client; None for nobody in particular."""

    process: Process
    url: str
    token: str | None = None

    def as_client(self, token: str | None) -> "Gateway":
        return Gateway(self.process, self.url, token)

    def call(
        self, method: str, path: str, content: Any = None, *, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Make one call. `headers`: with `_` for `-`."""
        given = {"Content-Type": "application/json"} if content is not None else {}
        given |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_S)
        try:
            sent = body if content is None else json.dumps(content).encode()
            connection.request(method, path, sent, given)
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.headers.items()), reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: Any) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, content: Any, **headers: Any) -> Answer:
        return self.call("POST", path, content, **headers)


@contextmanager
def gateway(env: Mapping[str, str], log: Path, **settings: object) -> Iterator[Gateway]:
    """Run a gateway; it answers."""
    named = {f"SCALEOUT_GATEWAY_{name}": str(value) for name, value in settings.items()}
    given = {**env, "SCALEOUT_GATEWAY_PORT": "0", **named}
    with process(["-m", "workers.cli.main", "gateway"], given, log) as started:
        started.until_written('"url"')
        line = next(line for line in started.text().splitlines() if line.startswith('{"url"'))
        yield Gateway(started, json.loads(line)["url"])
