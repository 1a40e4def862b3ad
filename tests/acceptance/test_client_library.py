"""The client library against a real gateway, with a worker and a simulator."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from scaleout_client import AsyncScaleoutClient, NotSucceeded, ScaleoutClient, ScaleoutError, Unreachable
from tests.support.gateway import Gateway, gateway
from tests.support.ports import free_port
from tests.support.processes import ROOT, Simulator, worker
from workers.gateway.clients import new_token

pytestmark = pytest.mark.timeout(120)
PLACE = ("ehpc-a", "jn1a")


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    with gateway(env, tmp_path / "gateway.log") as started:
        yield started


@pytest.fixture
def at_work(env: dict[str, str], tmp_path: Path) -> Iterator[None]:
    with worker(env, tmp_path / "worker.log"):
        yield


@pytest.mark.usefixtures("at_work")
def test_nodes_are_requested_waited_for_and_cancelled(running: Gateway, provider: Simulator) -> None:
    with ScaleoutClient(running.url) as client:
        first = client.request(*PLACE, 2, request_id="r-1", requested_by="nightly")
        again = client.request(*PLACE, 2, request_id="r-1", requested_by="nightly")
        outcome = client.wait("r-1", timeout_s=40)
        provider.post("stock", {"cluster_id": "ehpc-full", "zone": "jn1a", "nodes": 0})
        made = client.request("ehpc-full", "jn1a", 2, deadline_s=3600)
        with pytest.raises(TimeoutError, match="goes on"):
            client.wait(made["request_id"], timeout_s=0.5)
        client.cancel(made["request_id"], "no longer wanted")
        with pytest.raises(NotSucceeded) as ended:
            client.wait(made["request_id"], timeout_s=40)
        provider.post("faults", {"kind": "ret_code", "code": 2400, "cluster_id": "ehpc-bad"})
        client.request("ehpc-bad", "jn1a", 1, request_id="bad")
        with pytest.raises(NotSucceeded, match="rejected, 0 of 1 nodes"):
            client.wait("bad", timeout_s=40)

    assert first["request_id"] == again["request_id"] == outcome["request_id"]
    assert (outcome["nodes_added"], provider.nodes("ehpc-a")) == (2, 2)
    assert ended.value.outcome["status"] == "cancelled"
    assert client.status("r-1")["state"] == "succeeded"


@pytest.mark.usefixtures("at_work")
async def test_the_asynchronous_one_does_the_same(running: Gateway) -> None:
    async with AsyncScaleoutClient(running.url) as client:
        await client.request(*PLACE, 1, request_id="r-1")
        outcome = await client.wait("r-1", timeout_s=40)
        with pytest.raises(ScaleoutError) as refused:
            await client.request(*PLACE, 2, request_id="r-1")
        cancelled = await client.cancel("r-1")

    assert (outcome["status"], cancelled["state"]) == ("succeeded", "succeeded")
    assert (refused.value.status, refused.value.errors[0][0]) == (409, "node_count")


def test_refusals_name_the_fields_and_the_role(env: dict[str, str], tmp_path: Path) -> None:
    token, table = new_token("reader", "read")
    (tmp_path / "tokens.toml").write_text(table)
    with gateway(env, tmp_path / "guarded.log", TOKENS_FILE=tmp_path / "tokens.toml") as guarded:
        for wrong, status in ((None, 401), ("nobody", 401), (token, 403)):
            with pytest.raises(ScaleoutError) as refused:
                ScaleoutClient(guarded.url, wrong).request(*PLACE, 1)
            assert refused.value.status == status
    with gateway(env, tmp_path / "open.log") as opened, pytest.raises(ScaleoutError) as refused:
        ScaleoutClient(opened.url).request("ehpc-a", "j n", 0)
    assert refused.value.status == 422
    assert {name for name, _ in refused.value.errors} == {"zone", "node_count"}


def test_what_is_not_answered_is_sent_again_and_given_up_in_time(running: Gateway) -> None:
    port, seen = free_port(), []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            if len(seen) == 1:
                self.close_connection = True  # no answer at all
                return
            self.send_response(503 if len(seen) == 2 else 202)
            text = b'{"request_id": "r-1"}'
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", port), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        made = ScaleoutClient(f"http://127.0.0.1:{port}").request(*PLACE, 1)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(Unreachable, match=r"gave no answer.*request_id"):
        ScaleoutClient(f"http://127.0.0.1:{port}", give_up_s=0.2).request(*PLACE, 1)

    assert made == {"request_id": "r-1"}
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_a_wrong_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not the address of a gateway"):
        ScaleoutClient("localhost:8080")


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, scaleout_client; print(sorted(set(sys.modules) & {'aiohttp', 'redis', 'pydantic'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
