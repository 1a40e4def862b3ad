"""The client against servers on loopback that behave in every way a provider should not."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import SecretStr

from tasks.ehpc.client import CallReport, EhpcClient
from tasks.ehpc.connections import Connections, never_resend, open_connections
from tasks.ehpc.errors import EhpcError, InDoubt, NotSent, QuotaExhausted, Rejected
from tasks.ehpc.models import JobAccepted
from tasks.ehpc.replies import MAX_BYTES
from tasks.ehpc.signature import Credentials, SigningRules

ACCESS_KEY_ID = "QYACCESSKEYIDEXAMPLE"
SECRET = "SECRETACCESSKEY"
AT = datetime(2022, 4, 11, 15, 0, 13, tzinfo=UTC)
NOW_MS = 1_700_000_000_000
BODY = b'{"cluster_id": "ehpc-8jqdq0mz", "node_role": "login", "node_count": "1", "zone": "jn1a"}'
TAKEN = {"action": "HpcClusterAddClusterNodesResponse", "job_id": "j-1", "ret_code": 0}

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(connected: Connected) -> AsyncIterator[int]:
    """A server on loopback for as long as the block lasts; gives its port."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await connected(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


@dataclass(frozen=True)
class Received:
    """One call as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def raw_signature(self) -> str:
        return self.target.rpartition("&signature=")[2]

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], strict_parsing=True))


@dataclass
class Provider:
    """Reads each call to its end, notes it, and gives whatever answer the test wants."""

    answer: Answer
    calls: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            request_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = request_line.split(" ")
            self.calls.append(Received(method, target, headers, body))
            await self.answer(writer)
            if writer.is_closing():
                return

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"


def saying(content: object, status: str = "200 OK", **headers: str) -> Answer:
    """A well-formed reply with this content as JSON, on a connection that stays open."""
    return giving(json.dumps(content).encode(), status, **headers)


def giving(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return writing("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def writing(raw: bytes) -> Answer:
    """These bytes; the connection stays open."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


def closing_after(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return answer


async def resetting(writer: asyncio.StreamWriter) -> None:
    """The connection is torn down with a reset, not with an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider(saying(TAKEN))
    async with serving(provider.connected) as port:
        provider.port = port
        yield provider


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with open_connections() as connections:
        yield connections


@pytest.fixture
def reports() -> list[CallReport]:
    return []


Connect = Callable[..., EhpcClient]


@pytest.fixture
def connect(connections: Connections, reports: list[CallReport]) -> Connect:
    def connect(
        url: str,
        *,
        rules: SigningRules | None = None,
        timeout_s: float = 20.0,
        connect_timeout_s: float = 20.0,
        last_handled: Connections | None = None,
    ) -> EhpcClient:
        return EhpcClient(
            last_handled or connections,
            url,
            Credentials(ACCESS_KEY_ID, SecretStr(SECRET)),
            rules or SigningRules(),
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            now_ms=lambda: NOW_MS,
            on_call=reports.append,
        )

    return connect


@pytest.fixture
def client(connect: Connect, provider: Provider) -> EhpcClient:
    return connect(provider.url)


def in_time() -> bool:
    return True


async def add_nodes(client: EhpcClient) -> JobAccepted:
    return await client.add_nodes("jn1a", BODY, AT, in_time)


async def read_log(client: EhpcClient) -> Any:
    return await client.list_jobs("jn1a", at=AT, offset=0, newest_first=True)


async def read_nodes(client: EhpcClient) -> Any:
    return await client.list_nodes("jn1a", "ehpc-a", at=AT, offset=0)


Call = Callable[[EhpcClient], Awaitable[Any]]
each_call = pytest.mark.parametrize("call", [add_nodes, read_log, read_nodes], ids=lambda call: call.__name__)


async def error_of(calling: Awaitable[object]) -> EhpcError:
    with pytest.raises(EhpcError) as caught:
        await calling
    return caught.value


def signature_for(call: Received, signed_path: str) -> str:
    """What the vendor's page makes of a call, computed from the bytes that arrived."""
    query = call.target.partition("?")[2].rpartition("&signature=")[0]
    text = f"{call.method}\n{signed_path}\n{query}\n{hashlib.md5(call.body).hexdigest()}"
    return base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()


# --- what goes out ----------------------------------------------------------------------------------------


async def test_the_vendors_own_call_arrives_as_the_vendors_sample_would_send_it(
    client: EhpcClient, provider: Provider
) -> None:
    vectors = json.loads(Path(__file__).with_name("signature_vectors.json").read_text(encoding="utf-8"))
    vector = next(vector for vector in vectors if vector["method"] == "POST")
    assert vector["body"].encode() == BODY

    assert await add_nodes(client) == JobAccepted("j-1")

    call = provider.calls[0]
    assert (call.method, call.body) == ("POST", BODY)
    assert call.target == f"/api/cluster/addNodes?{vector['query']}"
    assert call.headers["content-type"] == "application/json"


async def test_the_bytes_that_are_signed_are_the_bytes_that_arrive(
    client: EhpcClient, provider: Provider
) -> None:
    body = '{"node_name":  "节点 \\u0041+%2B&=?#", "zone":"jn1a" }'.encode()

    await client.add_nodes("jn1a", body, AT, in_time)

    call = provider.calls[0]
    assert call.body == body
    assert unquote(unquote(call.raw_signature)) == signature_for(call, "/api/cluster/addNodes/")


async def test_the_signature_is_encoded_exactly_twice_whatever_signs_it_has(
    client: EhpcClient, provider: Provider
) -> None:
    # Base64 has a plus or a slash in most signatures: among these calls are some of either.
    for second in range(12):
        await client.add_nodes("jn1a", BODY, AT + timedelta(seconds=second), in_time)

    wires = [call.raw_signature for call in provider.calls]
    plain = [unquote(unquote(wire)) for wire in wires]
    assert plain == [signature_for(call, "/api/cluster/addNodes/") for call in provider.calls]
    assert any("+" in text for text in plain)
    assert any("/" in text for text in plain)
    for wire, text in zip(wires, plain, strict=True):
        assert wire == text.replace("+", "%252B").replace("/", "%252F").replace("=", "%253D")


@pytest.mark.parametrize(
    ("rules", "signed_path", "equals_sign"),
    [
        (SigningRules(), "/api/operation/", "%253D"),
        (SigningRules(path_slash=False), "/api/operation", "%253D"),
        (SigningRules(encoded_twice=False), "/api/operation/", "%3D"),
        (SigningRules(path_slash=False, encoded_twice=False), "/api/operation", "%3D"),
    ],
)
async def test_settings_of_private_deployments_change_what_is_signed_not_where_it_goes(
    connect: Connect, provider: Provider, rules: SigningRules, signed_path: str, equals_sign: str
) -> None:
    provider.answer = saying({"ret_code": 0, "total_count": 0, "job_set": []})

    await read_log(connect(provider.url, rules=rules))

    call = provider.calls[0]
    assert call.path == "/api/operation"
    assert call.raw_signature.endswith(equals_sign)
    assert unquote(unquote(call.raw_signature)) == signature_for(call, signed_path)


@pytest.mark.parametrize("entry", ["/api", "/api/", "/behind/a/gateway"])
async def test_the_path_is_signed_and_its_final_slash_does_not_matter(
    connect: Connect, provider: Provider, entry: str
) -> None:
    provider.answer = saying({"ret_code": 0, "total_count": 0, "job_set": []})

    await read_log(connect(f"http://127.0.0.1:{provider.port}{entry}"))

    call = provider.calls[0]
    path = f"{entry.rstrip('/')}/operation"
    assert call.path == path
    assert unquote(unquote(call.raw_signature)) == signature_for(call, f"{path}/")


@pytest.mark.parametrize("entry", ["", "/"])
async def test_an_entry_without_a_path_is_signed_as_the_calls_path(
    connect: Connect, provider: Provider, entry: str
) -> None:
    provider.answer = saying({"ret_code": 0, "total_count": 0, "job_set": []})

    await read_log(connect(f"http://127.0.0.1:{provider.port}{entry}"))

    call = provider.calls[0]
    assert call.path == "/operation"
    assert unquote(unquote(call.raw_signature)) == signature_for(call, "/operation/")


async def test_a_page_of_the_operation_log_is_requested_and_read(
    client: EhpcClient, provider: Provider
) -> None:
    row = {"job_id": "j-1", "status": "successful", "resource_ids": "ehpc-a cln-1"}
    provider.answer = saying({"ret_code": 0, "total_count": 1, "job_set": [row]})

    page = await client.list_jobs(
        "jn1a",
        at=AT,
        offset=100,
        newest_first=False,
        start_time=AT - timedelta(minutes=5),
        resource_ids="ehpc-a",
        job_ids="j-1",
    )

    call = provider.calls[0]
    assert page.rows[0].node_ids == ("cln-1",)
    assert (call.method, call.path, call.body) == ("GET", "/api/operation", b"")
    assert "content-type" not in call.headers
    assert call.params | {"signature": ""} == {
        "access_key_id": ACCESS_KEY_ID,
        "job_ids": "j-1",
        "limit": "100",
        "offset": "100",
        "resource_ids": "ehpc-a",
        "reverse": "0",
        "signature": "",
        "signature_method": "HmacSHA256",
        "signature_version": "1",
        "start_time": "2022-04-11T14:55:13Z",
        "timestamp": "2022-04-11T15:00:13Z",
        "version": "1",
        "zone": "jn1a",
    }


async def test_a_page_of_a_clusters_nodes_is_requested_and_read(
    client: EhpcClient, provider: Provider
) -> None:
    provider.answer = saying(
        {"ret_code": 0, "total_count": 1, "hpc_app_nodes_set": [{"node_id": "cln-1", "status": "active"}]}
    )

    page = await client.list_nodes("jn1a", "ehpc-a", at=AT, offset=0)

    call = provider.calls[0]
    assert page.rows[0].node_id == "cln-1"
    assert (call.method, call.path) == ("GET", "/api/cluster/listNodes")
    assert (call.params["cluster_id"], call.params["offset"]) == ("ehpc-a", "0")


async def test_each_add_nodes_has_a_connection_of_its_own(client: EhpcClient, provider: Provider) -> None:
    for _ in range(3):
        await add_nodes(client)

    assert (provider.connections, len(provider.calls)) == (3, 3)


async def test_a_cookie_of_the_provider_is_not_sent_back(connect: Connect, provider: Provider) -> None:
    provider.answer = saying(TAKEN, Set_Cookie="session=abc; Path=/")
    # By name: cookies of bare addresses would not be kept in any case.
    client = connect(f"http://localhost:{provider.port}/api")

    await add_nodes(client)
    await add_nodes(client)

    assert len(provider.calls) == 2
    assert all("cookie" not in call.headers for call in provider.calls)


async def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, client: EhpcClient, provider: Provider
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    assert await add_nodes(client) == JobAccepted("j-1")


async def test_a_refusal_comes_out_as_its_error(client: EhpcClient, provider: Provider) -> None:
    provider.answer = saying({"ret_code": 2100, "message": "ResourceNotFound"}, "400 Bad Request")

    error = await error_of(add_nodes(client))

    assert type(error) is Rejected
    assert (error.ret_code, error.http_status) == (2100, 400)


async def test_too_many_calls_report_the_wait_that_the_provider_requests(
    client: EhpcClient, provider: Provider
) -> None:
    provider.answer = giving(b"slow down", "429 Too Many Requests", Retry_After="17")

    error = await error_of(add_nodes(client))

    assert isinstance(error, QuotaExhausted)
    assert error.retry_after_s == 17.0


# --- once, and nothing else -------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize(
    "status",
    [
        *("301 Moved Permanently", "302 Found", "303 See Other"),
        *("307 Temporary Redirect", "308 Permanent Redirect"),
    ],
)
async def test_no_redirect_is_followed(
    client: EhpcClient, provider: Provider, call: Call, status: str
) -> None:
    provider.answer = giving(b"elsewhere", status, Location=f"{provider.url}/other")

    error = await error_of(call(client))

    assert type(error) is InDoubt
    assert error.http_status == int(status[:3])
    assert len(provider.calls) == 1


HALF_A_HEAD = b"HTTP/1.1 200 OK\r\nContent-Ty"
HALF_A_BODY = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ret_code": 1100}'
HALF_A_CHUNK = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"ret_code": 1100}'
NO_LAST_CHUNK = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{"ret_code": 1100}\r\n'


@each_call
@pytest.mark.parametrize(
    "answer",
    [
        closing_after(b""),
        resetting,
        closing_after(HALF_A_HEAD),
        closing_after(HALF_A_BODY),
        closing_after(HALF_A_CHUNK),
        closing_after(NO_LAST_CHUNK),
        closing_after(b"this is not HTTP\r\n\r\n"),
        closing_after(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
        closing_after(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{"ret_code": 1100}'),
    ],
    ids=[
        *("dropped", "reset", "half_a_head", "half_a_body", "half_a_chunk", "no_last_chunk"),
        *("no_http", "endless_header", "wrong_length", "wrong_chunk"),
    ],
)
async def test_a_connection_that_breaks_is_in_doubt_and_not_repeated(
    client: EhpcClient, provider: Provider, reports: list[CallReport], call: Call, answer: Answer
) -> None:
    provider.answer = answer

    error = await error_of(call(client))

    assert type(error) is InDoubt
    assert error.ret_code is None
    assert (provider.connections, len(provider.calls), len(reports)) == (1, 1, 1)


@each_call
async def test_a_connection_dropped_before_the_call_was_read_is_in_doubt(
    connect: Connect, call: Call
) -> None:
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await resetting(writer)

    async with serving(hang_up) as port:
        error = await error_of(call(connect(f"http://127.0.0.1:{port}/api")))

    assert type(error) is InDoubt
    assert connections == 1


@each_call
async def test_no_reply_in_time_is_in_doubt(connect: Connect, provider: Provider, call: Call) -> None:
    provider.answer = silent

    error = await error_of(call(connect(provider.url, timeout_s=1.0)))

    assert type(error) is InDoubt
    assert str(error) == "no reply within 1 s"
    assert len(provider.calls) == 1


@pytest.mark.parametrize("begun", [HALF_A_HEAD, HALF_A_BODY, NO_LAST_CHUNK], ids=repr)
async def test_a_reply_that_does_not_end_in_time_is_in_doubt(
    connect: Connect, provider: Provider, begun: bytes
) -> None:
    provider.answer = writing(begun)

    error = await error_of(add_nodes(connect(provider.url, timeout_s=1.0)))

    assert type(error) is InDoubt
    assert len(provider.calls) == 1


async def test_a_cancelled_call_stays_cancelled_and_is_reported_without_a_reply(
    client: EhpcClient, provider: Provider, reports: list[CallReport]
) -> None:
    arrived = asyncio.Event()

    async def hold(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    provider.answer = hold
    calling = asyncio.ensure_future(add_nodes(client))
    await arrived.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    assert len(provider.calls) == 1
    report = reports[0]
    assert (report.http_status, report.ret_code, report.error_kind) == (None, None, None)


# --- nothing has left this machine ------------------------------------------------------------------------


@each_call
async def test_a_refused_connection_is_proof_that_nothing_was_sent(connect: Connect, call: Call) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        error = await error_of(call(connect(f"http://127.0.0.1:{taken.getsockname()[1]}/api")))

    assert type(error) is NotSent
    assert "could not be reached" in str(error)


async def test_a_connection_that_is_not_made_in_time_proves_nothing_was_sent(
    connect: Connect,
) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # nobody accepts, and the queue has room for one
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

        client = connect(f"http://127.0.0.1:{full.getsockname()[1]}/api", connect_timeout_s=0.4)
        error = await error_of(add_nodes(client))

    assert type(error) is NotSent


@each_call
async def test_a_session_that_was_closed_is_proof_that_nothing_was_sent(
    connect: Connect, provider: Provider, reports: list[CallReport], call: Call
) -> None:
    closed = open_connections()
    await closed.close()

    error = await error_of(call(connect(provider.url, last_handled=closed)))

    assert type(error) is NotSent
    assert [report.error_kind for report in reports] == ["not_sent"]
    assert provider.connections == 0


async def test_what_is_too_late_once_it_is_connected_is_not_sent(
    client: EhpcClient, provider: Provider
) -> None:
    connected: list[int] = []

    def too_late() -> bool:
        connected.append(provider.connections)
        return False

    error = await error_of(client.add_nodes("jn1a", BODY, AT, too_late))
    await add_nodes(client)

    assert type(error) is NotSent
    assert "too late" in str(error)
    assert len(connected) == 1
    assert len(provider.calls) == 1, "only the call that was in time"


async def test_an_unknown_host_is_proof_that_nothing_was_sent(connect: Connect) -> None:
    class NobodyKnows(AbstractResolver):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            raise OSError(None, "Name or service not known")

        async def close(self) -> None: ...

    connector = aiohttp.TCPConnector(resolver=NobodyKnows(), force_close=True)
    async with aiohttp.ClientSession(connector=connector, middlewares=(never_resend,)) as session:
        client = connect("http://hpc.example.invalid/api", last_handled=Connections(session, session))
        error = await error_of(add_nodes(client))

    assert type(error) is NotSent


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["plain", "closed"])
async def test_a_failed_tls_handshake_is_proof_that_nothing_was_sent(
    connect: Connect, greeting: bytes
) -> None:
    heard = b""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += await reader.read(65_536)
        await closing_after(greeting)(writer)

    async with serving(no_tls) as port:
        error = await error_of(add_nodes(connect(f"https://127.0.0.1:{port}/api")))

    assert type(error) is NotSent
    assert heard.startswith(b"\x16\x03")
    assert b"addNodes" not in heard


# --- bodies that must not be read -------------------------------------------------------------------------


@each_call
async def test_an_endless_body_is_read_to_a_bound_and_closed(connect: Connect, call: Call) -> None:
    written = 0
    gone = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{"ret_code": 0, "job_id": "j-')
        try:
            while True:
                writer.write(b"1" * 65_536)
                await writer.drain()
                written += 65_536
        except OSError:
            gone.set()

    async with serving(pour) as port:
        error = await error_of(call(connect(f"http://127.0.0.1:{port}/api")))
        await asyncio.wait_for(gone.wait(), 10)

    assert type(error) is InDoubt
    assert f"larger than {MAX_BYTES} bytes" in str(error)
    # What is above the bound is on its way in the buffers of two sockets.
    assert MAX_BYTES < written + 65_536 < 4 * MAX_BYTES


async def test_the_largest_body_that_is_read_is_read_whole(client: EhpcClient, provider: Provider) -> None:
    body = json.dumps(TAKEN).encode()
    provider.answer = giving(body + b" " * (MAX_BYTES - len(body)))

    assert await add_nodes(client) == JobAccepted("j-1")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate"])
async def test_a_compressed_body_is_in_doubt_and_is_not_unpacked(
    client: EhpcClient, provider: Provider, coding: str
) -> None:
    provider.answer = giving(gzip.compress(json.dumps(TAKEN).encode()), Content_Encoding=coding)

    error = await error_of(add_nodes(client))

    assert type(error) is InDoubt
    assert "compressed" in str(error)
    assert provider.calls[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity"])
async def test_a_body_that_is_said_to_be_as_it_is_is_read(
    client: EhpcClient, provider: Provider, coding: str
) -> None:
    provider.answer = saying(TAKEN, Content_Encoding=coding)

    assert await add_nodes(client) == JobAccepted("j-1")


# --- the provider's clock ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [-3600, -5, 0, 5, 3600])
async def test_the_providers_date_minus_our_time_is_kept_as_skew(
    client: EhpcClient, provider: Provider, ahead_s: int
) -> None:
    date = datetime.fromtimestamp(NOW_MS / 1000 + ahead_s, UTC)
    provider.answer = saying(TAKEN, Date=format_datetime(date, usegmt=True))

    await add_nodes(client)

    assert client.skew_s is not None
    # The header has whole seconds, so half a second is the best guess of the rest.
    assert client.skew_s == pytest.approx(ahead_s + 0.5)


async def test_the_skew_is_known_from_refusals_too(client: EhpcClient, provider: Provider) -> None:
    date = datetime.fromtimestamp(NOW_MS / 1000 + 60, UTC)
    provider.answer = saying({"ret_code": 1300}, Date=format_datetime(date, usegmt=True))

    await error_of(add_nodes(client))

    assert client.skew_s == pytest.approx(60.5)


@pytest.mark.parametrize(
    "date", ["", "now", "Mon, 99 Foo 2023 00:00:00 GMT", "Mon, 01 Jan 10000 00:00:00 GMT"]
)
async def test_a_date_that_is_none_leaves_the_last_skew_as_it_was(
    client: EhpcClient, provider: Provider, date: str
) -> None:
    provider.answer = saying(TAKEN, Date=date)
    assert await add_nodes(client) == JobAccepted("j-1")
    assert client.skew_s is None

    client.skew_s = 1.5
    assert await add_nodes(client) == JobAccepted("j-1")
    assert client.skew_s == 1.5


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    ],
)
async def test_a_date_of_huge_numbers_does_not_lose_the_reply(
    client: EhpcClient, provider: Provider, date: str
) -> None:
    provider.answer = saying(TAKEN, Date=date)

    assert await add_nodes(client) == JobAccepted("j-1")


async def test_a_reply_without_a_date_leaves_the_skew_unknown(client: EhpcClient) -> None:
    await add_nodes(client)

    assert client.skew_s is None


# --- what is found about a call ----------------------------------------------------------------------------


async def test_each_call_is_reported_once_with_what_came_of_it(
    client: EhpcClient, provider: Provider, reports: list[CallReport]
) -> None:
    await add_nodes(client)
    provider.answer = saying({"ret_code": 5200, "message": "no capacity"}, "400 Bad Request")
    await error_of(read_log(client))
    provider.answer = giving(b"<html>", "502 Bad Gateway")
    await error_of(read_nodes(client))
    provider.answer = closing_after(b"")
    await error_of(add_nodes(client))

    found = [(r.action, r.zone, r.http_status, r.ret_code, r.error_kind) for r in reports]
    assert found == [
        ("addNodes", "jn1a", 200, 0, None),
        ("operation", "jn1a", 400, 5200, "shortage"),
        ("listNodes", "jn1a", 502, None, "in_doubt"),
        ("addNodes", "jn1a", None, None, "in_doubt"),
    ]
    assert all(0 <= report.duration_s < 20 for report in reports)


@pytest.mark.parametrize(
    "answer",
    [
        closing_after(b""),
        resetting,
        silent,
        closing_after(HALF_A_HEAD),
        closing_after(HALF_A_BODY),
        closing_after(b"no HTTP\r\n\r\n"),
        giving(b"<html>", "502 Bad Gateway"),
        giving(b"", "302 Found", Location="http://127.0.0.1:9/"),
        saying({"ret_code": 1200, "message": "auth failure"}),
        saying({"ret_code": 0}),
        giving(b"", "429 Too Many Requests"),
        giving(b"x", Content_Encoding="gzip"),
    ],
)
async def test_no_error_and_no_report_shows_a_secret_or_a_signature(
    connect: Connect, provider: Provider, reports: list[CallReport], answer: Answer
) -> None:
    provider.answer = answer
    client = connect(provider.url, timeout_s=0.5)

    error = await error_of(add_nodes(client))

    wire = provider.calls[0].raw_signature
    said = "\n".join(
        [str(error), repr(error), repr(error.__dict__), repr(reports), *traceback.format_exception(error)]
    )
    for hidden in (SECRET, wire, unquote(wire), unquote(unquote(wire)), "signature=", ACCESS_KEY_ID):
        assert hidden not in said


async def test_an_error_of_a_failed_connection_shows_no_secret(
    connect: Connect,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await error_of(add_nodes(connect(f"http://127.0.0.1:{taken.getsockname()[1]}/api")))

    said = "\n".join([str(error), repr(error.__dict__), *traceback.format_exception(error)])
    assert "signature=" not in said
    assert SECRET not in said
    assert "Connect" in str(error)
