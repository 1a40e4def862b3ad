"""The HTTP gateway in a process of its own: what it answers, to whom, and what it never does."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from jsonschema import Draft202012Validator

from tasks.ledger.record_values import State
from tests.support import records
from tests.support.command_line import scaleout
from tests.support.gateway import Answer, Gateway, gateway
from tests.support.ports import free_port
from tests.support.processes import environment, eventually
from workers.gateway.clients import new_token

pytestmark = pytest.mark.timeout(90)
NODES = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
NOWHERE = "http://127.0.0.1:1/api"


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return environment(redis_url, NOWHERE)


@pytest.fixture
def local(env: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that everybody on this machine may use."""
    with gateway(env, tmp_path / "gateway.log") as started:
        yield started


def problem(answer: Answer, status: int, word: str) -> dict[str, Any]:
    """Demand a problem document of this kind, and return it."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.body
    said: dict[str, Any] = answer.json()
    assert (answer.status, said["status"], said["type"]) == (status, status, f"urn:scaleout:problem:{word}")
    assert said["detail"]
    return said


def test_a_request_is_accepted_once_and_a_conflict_names_the_fields(local: Gateway) -> None:
    first = local.post("/v1/requests", {**NODES, "request_id": "r-1"})
    again = local.post("/v1/requests", NODES, Idempotency_Key="r-1")
    other = local.post("/v1/requests", {**NODES, "node_count": 3}, Idempotency_Key="r-1")

    assert (first.status, first.headers["Location"]) == (202, "/v1/requests/r-1")
    assert first.headers["Retry-After"]
    assert (first.json()["state"], first.json()["nodes_requested"]) == ("waiting", 2)
    assert (again.status, again.json()["accepted_at"]) == (202, first.json()["accepted_at"])
    assert [error["field"] for error in problem(other, 409, "conflict")["errors"]] == ["node_count"]
    assert local.get("/v1/requests/r-1").json()["nodes_requested"] == 2


def test_a_dry_run_writes_nothing(local: Gateway, server: redis.Redis) -> None:
    before = set(server.keys("scaleout:request:*"))

    answer = local.post("/v1/requests?dry_run=true", {**NODES, "request_id": "r-1"})

    assert (answer.status, answer.json()["status"], answer.json()["dry_run"]) == (200, "accepted", True)
    assert set(server.keys("scaleout:request:*")) == before


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({**NODES, "node_count": 0, "zone": "j n"}, ["request_id", "zone", "node_count"]),
    ({**NODES, "request_id": "r", "colour": "red"}, ["colour"]),
    ({"request_id": "r"}, ["cluster_id", "zone", "node_count"]),
    ({**NODES, "request_id": "schedule:x"}, ["request_id"]),
    ({**NODES, "request_id": "r", "node_count": "2"}, ["node_count"]),
]


@pytest.mark.parametrize(("content", "fields"), WRONG)
def test_every_mistake_is_named_by_its_field_and_nothing_is_stored(
    local: Gateway, server: redis.Redis, content: dict[str, Any], fields: list[str]
) -> None:
    said = problem(local.post("/v1/requests", content), 422, "invalid")

    assert {error["field"] for error in said["errors"]} == set(fields)
    assert server.keys("scaleout:request:*") == []


def test_what_is_no_request_is_a_problem_document(local: Gateway, server: redis.Redis) -> None:
    def post(body: bytes, **headers: str) -> Answer:
        given = {"Content_Type": "application/json", **headers}
        return local.call("POST", "/v1/requests", body=body, **given)

    problem(post(b"{"), 400, "not-json")
    problem(post(b'{"zone": NaN}'), 400, "not-json")
    problem(post(b'{"zone": "a", "zone": "b"}'), 400, "not-json")
    problem(post(b"\xff\xfe"), 400, "not-json")
    problem(post(b"[" * 20_000), 400, "not-json")
    problem(post(b"[]"), 422, "invalid")
    problem(post(b"{}", Content_Type="text/plain"), 415, "unsupported-media-type")
    problem(post(b"{}", Content_Encoding="gzip"), 415, "unsupported-media-type")
    problem(post(json.dumps({**NODES, "node_name": "n" * 70_000}).encode()), 413, "request-entity-too-large")
    problem(local.get("/v1/requests/nobodys"), 404, "not-found")
    problem(local.get("/v1/requests/%00%22"), 404, "not-found")
    problem(local.get("/v1/nowhere"), 404, "not-found")
    problem(local.call("PATCH", "/v1/requests", {}), 405, "method-not-allowed")
    problem(local.get("/v1/requests?limit=501"), 422, "invalid")
    problem(local.get("/v1/requests?limit=1&limit=2"), 422, "invalid")
    problem(local.get("/v1/requests?cursor=e30="), 422, "invalid")
    problem(local.get("/v1/requests?colour=red"), 422, "invalid")
    problem(local.get("/v1/requests?since=yesterday"), 422, "invalid")
    problem(local.get("/v1/requests/r?wait=61"), 422, "invalid")
    problem(local.get("/v1/events", Last_Event_ID="7"), 400, "unknown-event-id")
    assert server.keys("scaleout:request:*") == []


def test_a_header_that_comes_twice_is_refused(local: Gateway, server: redis.Redis) -> None:
    connection = http.client.HTTPConnection(urlsplit(local.url).netloc, timeout=20)
    connection.putrequest("POST", "/v1/requests")
    for name, value in (("Idempotency-Key", "r-1"), ("Idempotency-Key", "r-2"), ("Content-Length", "2")):
        connection.putheader(name, value)
    connection.putheader("Content-Type", "application/json")
    connection.endheaders(b"{}")
    reply = connection.getresponse()
    said = json.loads(reply.read())
    connection.close()

    assert (reply.status, said["type"]) == (400, "urn:scaleout:problem:duplicate-header")
    assert server.keys("scaleout:request:*") == []


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/quota HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/quota HTTP/1.1\r\n"
        + b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))
        + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ],
    ids=["no HTTP", "two hosts", "ten thousand headers", "a long path", "a wrong length"],
)
def test_what_is_hardly_http_is_a_problem_document_as_well(local: Gateway, sent: bytes) -> None:
    with socket.create_connection(
        (urlsplit(local.url).hostname, urlsplit(local.url).port), timeout=20
    ) as raw:
        raw.sendall(sent)
        with raw.makefile("rb") as file:
            head = b"".join(iter(file.readline, b"\r\n"))
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            said = json.loads(file.read(length))

    assert b"application/problem+json" in head
    assert said["type"].startswith("urn:scaleout:problem:")
    assert 400 <= said["status"] < 500
    assert local.get("/healthz").status == 200


def test_a_browser_on_this_machine_is_not_made_to_buy(local: Gateway, server: redis.Redis) -> None:
    body = json.dumps({**NODES, "request_id": "r-1"}).encode()

    def post(**headers: str) -> Answer:
        return local.call("POST", "/v1/requests", body=body, **headers)

    problem(post(Content_Type="application/json", Host="evil.example"), 403, "foreign-host")
    problem(post(Content_Type="application/json", Origin="https://evil.example"), 403, "foreign-origin")
    problem(post(Content_Type="text/plain"), 415, "unsupported-media-type")
    problem(local.get("/v1/requests", Host="evil.example"), 403, "foreign-host")
    assert server.keys("scaleout:request:*") == []
    own = {"Content_Type": "application/json", "Origin": local.url}
    assert post(**own).status == 202


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """A token for each role, in a tokens file beside."""
    found, tables = {}, []
    for role in ("read", "submit", "operate"):
        found[role], table = new_token(f"team-{role}", role)
        tables.append(table)
    (tmp_path / "tokens.toml").write_text("\n".join(tables), encoding="utf-8")
    return found


def test_each_role_may_do_what_it_may_and_no_more(
    env: dict[str, str], tokens: dict[str, str], tmp_path: Path
) -> None:
    with gateway(env, tmp_path / "gateway.log", TOKENS_FILE=tmp_path / "tokens.toml") as nobody:
        reader, submitter, operator = (
            nobody.as_client(tokens[name]) for name in ("read", "submit", "operate")
        )
        sent = {**NODES, "request_id": "r-1"}

        refused = nobody.get("/v1/requests")
        assert "Bearer" in refused.headers["WWW-Authenticate"]
        problem(refused, 401, "unauthorized")
        problem(nobody.as_client("wrong").get("/v1/requests"), 401, "unauthorized")
        assert "submit" in problem(reader.post("/v1/requests", sent), 403, "forbidden")["detail"]
        problem(submitter.post("/v1/requests", {**sent, "requested_by": "x"}), 403, "foreign-producer")
        accepted = submitter.post("/v1/requests", sent)
        assert (accepted.status, accepted.json()["requested_by"]) == (202, "team-submit")
        assert operator.post("/v1/requests", {**sent, "request_id": "r-2", "requested_by": "x"}).status == 202
        problem(submitter.post("/v1/requests/r-2/cancel", {}), 403, "foreign-request")
        problem(submitter.call("PUT", "/v1/pauses/account", {}), 403, "forbidden")
        assert operator.call("PUT", "/v1/pauses/account", {"reason": "audit"}).status == 200
        assert submitter.post("/v1/requests/r-1/cancel", {"reason": "budget"}).json()["state"] == "cancelled"
        lines = reader.get("/v1/requests/r-1/history").json()
        assert nobody.get("/healthz").status == 200
        log = nobody.process.text()

    who = {line["event"]: line.get("by") for line in lines}
    assert (who["request_accepted"], who["request_cancelled"]) == ("team-submit", "team-submit")
    assert not any(token in log for token in tokens.values())


def test_the_tokens_file_is_read_again_and_a_broken_one_changes_nothing(
    env: dict[str, str], tokens: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "tokens.toml"
    with gateway(env, tmp_path / "gateway.log", TOKENS_FILE=path) as nobody:
        reader = nobody.as_client(tokens["read"])
        assert reader.get("/v1/quota").status == 200
        before = path.read_text(encoding="utf-8")
        path.write_text("[clients", encoding="utf-8")
        eventually(
            lambda: reader.get("/v1/quota").status == 200 and bool(_events(nobody, "tokens_invalid")), ""
        )
        path.write_text(before.split("\n\n", 1)[1], encoding="utf-8")
        eventually(lambda: reader.get("/v1/quota").status == 401, "the first client is gone")
        assert nobody.as_client(tokens["operate"]).get("/v1/quota").status == 200


def _events(of: Gateway, name: str) -> list[Any]:
    lines = (line for line in of.process.text().splitlines() if '"event"' in line)
    return [line for line in map(json.loads, lines) if line.get("event") == name]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"GATEWAY_HOST": "0.0.0.0"}, "SCALEOUT_GATEWAY_TOKENS_FILE"),
        ({"GATEWAY_TOKENS_FILE": "/nowhere"}, "cannot be read"),
        ({"GATEWAY_PORT": "99999"}, "SCALEOUT_GATEWAY_PORT"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    env: dict[str, str], settings: dict[str, str], said: str
) -> None:
    given = {**env, **{f"SCALEOUT_{name}": value for name, value in settings.items()}}

    done = scaleout(given, "gateway")

    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if not line.startswith("{"))
    assert said in line


@pytest.mark.permanent_keys("scaleout:operation:*")
def test_another_accounts_access_key_decides_nothing(local: Gateway, server: redis.Redis) -> None:
    known = records.operation(state=State.IN_DOUBT)
    key = f"scaleout:operation:{known.operation_id}"
    server.hset(key, mapping={"content": known.content(), "version": "1"})
    server.hset("scaleout:epoch", "account", "another")

    path = f"/v1/operations/{known.operation_id}/resolve"
    said = problem(local.post(path, {"not_executed": True}), 503, "unavailable")

    assert "another account" in said["detail"]


def test_a_wait_ends_with_the_request_or_with_its_time(local: Gateway) -> None:
    local.post("/v1/requests", {**NODES, "request_id": "r-1"})
    began = time.monotonic()
    waited = local.get("/v1/requests/r-1?wait=1")
    took = time.monotonic() - began
    threading.Timer(0.5, lambda: local.post("/v1/requests/r-1/cancel", {})).start()
    ended = local.get("/v1/requests/r-1?wait=30")

    assert (waited.status, waited.json()["state"], 0.9 < took < 10) == (200, "waiting", True)
    assert (ended.status, ended.json()["state"]) == (200, "cancelled")
    assert time.monotonic() - began < 20


def test_pages_show_each_request_once_the_newest_first(local: Gateway) -> None:
    for number in range(5):
        local.post("/v1/requests", {**NODES, "request_id": f"r-{number}"})
    for number in (0, 3):
        local.post(f"/v1/requests/r-{number}/cancel", {})
    found, cursor = [], ""
    while True:
        page = local.get(f"/v1/requests?limit=2{cursor}").json()
        found += [row["request_id"] for row in page["requests"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert found == ["r-4", "r-2", "r-1", "r-3", "r-0"]
    mine = local.get("/v1/requests?state=cancelled").json()["requests"]
    assert [row["request_id"] for row in mine] == ["r-3", "r-0"]


class Stream:
    """A stream of events, as a browser reads it."""

    def __init__(self, of: Gateway, path: str = "/v1/events", last: str | None = None) -> None:
        url = urlsplit(of.url)
        self._socket = socket.create_connection((url.hostname, url.port), timeout=20)
        lines = [f"GET {path} HTTP/1.1", f"Host: {url.netloc}", "Accept: text/event-stream"]
        lines += [f"Last-Event-ID: {last}"] if last else []
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        self.last = last
        # From here on it is told of everything.
        next(raw for raw in self._file if raw.startswith(b"event: hello"))

    def next(self) -> tuple[str, dict[str, Any]]:
        """Return the kind and the content of the next event that has one."""
        fields: dict[str, str] = {}
        for raw in self._file:
            line = raw.decode().rstrip("\r\n")
            if match := re.match(r"(id|event|data): ?(.*)", line):
                fields[match[1]] = match[2]
            elif not line and fields:
                self.last = fields.get("id", self.last)
                if fields.get("data"):
                    return fields["event"], json.loads(fields["data"])
                fields = {}
        raise AssertionError("the stream has ended")

    def rest(self) -> list[str]:
        """Return the kinds of what still comes until the stream ends."""
        return [raw.decode().split(":")[1].strip() for raw in self._file if raw.startswith(b"event: s")]

    def until(self, kind: str, request_id: str) -> dict[str, Any]:
        while True:
            found, content = self.next()
            if (found, content["request_id"]) == (kind, request_id):
                return content

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def test_a_stream_tells_of_changes_and_ends_and_resumes_without_a_gap(local: Gateway) -> None:
    stream = Stream(local)
    local.post("/v1/requests", {**NODES, "request_id": "r-1"})
    assert stream.until("status", "r-1")["state"] == "waiting"
    local.post("/v1/requests/r-1/cancel", {})
    assert stream.until("outcome", "r-1")["status"] == "cancelled"
    stream.close()

    local.post("/v1/requests", {**NODES, "request_id": "r-2"})
    local.post("/v1/requests", {**NODES, "request_id": "r-3"})
    local.post("/v1/requests/r-2/cancel", {})
    back = Stream(local, last=stream.last)
    found = {back.next()[1]["request_id"] for _ in range(2)}
    filtered = Stream(local, "/v1/events?request_id=r-3", last="0-0_0-0")

    assert found == {"r-2", "r-3"}
    assert filtered.next()[1]["request_id"] == "r-3"
    back.close()
    filtered.close()


def test_a_client_that_vanishes_is_no_error_of_the_gateway(local: Gateway) -> None:
    for _ in range(3):
        Stream(local).close()
    for number in range(3):
        local.post("/v1/requests", {**NODES, "request_id": f"r-{number}"})
        time.sleep(0.3)

    assert local.get("/healthz").status == 200
    said = local.process.text()
    assert "Traceback" not in said
    assert "request_failed" not in said


def test_a_gateway_that_is_stopped_ends_waits_and_streams_in_order(
    env: dict[str, str], tmp_path: Path
) -> None:
    with gateway(env, tmp_path / "gateway.log") as local:
        local.post("/v1/requests", {**NODES, "request_id": "r-1"})
        answers: list[Answer] = []
        waiting = threading.Thread(target=lambda: answers.append(local.get("/v1/requests/r-1?wait=60")))
        waiting.start()
        stream = Stream(local)
        time.sleep(0.5)
        local.process.popen.terminate()
        waiting.join(20)
        stream.rest()
        stream.close()
        assert local.process.popen.wait(20) == 0

    assert [(answer.status, answer.json()["state"]) for answer in answers] == [(200, "waiting")]


def test_every_answer_has_the_shape_that_the_document_gives(local: Gateway) -> None:
    document = local.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    local.post("/v1/requests", {**NODES, "request_id": "r-1"})
    local.call("PUT", "/v1/pauses/clusters/ehpc-a", {"reason": "audit"})
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"]
            if method != "get" or path == "/v1/events":
                continue
            answer = local.get(path.replace("{request_id}", "r-1"))
            content = operation["responses"][str(answer.status)]["content"]
            (media_type,) = content
            assert answer.headers["Content-Type"].startswith(media_type)
            schema = {**content[media_type]["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(answer.json())
            tried += 1
    assert tried >= 12


def test_readiness_says_why_nobody_works(local: Gateway) -> None:
    assert "worker" in problem(local.get("/readyz"), 503, "unavailable")["detail"]
    assert local.get("/healthz").json() == {"ok": True}


@pytest.mark.parametrize("host", ["127.0.0.1", "10.255.255.9"])
def test_an_address_that_cannot_be_listened_on_is_refused_in_one_line(
    env: dict[str, str], tmp_path: Path, host: str
) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(scaleout(env, "gateway", "token", "team", "--role", "read", "--json").json()["table"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = other.getsockname()[1]
        given = {"HOST": host, "PORT": str(port), "TOKENS_FILE": str(tokens)}
        done = scaleout({**env, **{f"SCALEOUT_GATEWAY_{n}": v for n, v in given.items()}}, "gateway")

    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("scaleout: ")]
    assert f"SCALEOUT_GATEWAY_PORT={port} cannot be listened on" in line
    assert "name another port" in line


def test_a_token_is_shown_once_with_its_table(env: dict[str, str]) -> None:
    said = scaleout(env, "gateway", "token", "team", "--role", "read", "--json").json()
    wrong = scaleout(env, "gateway", "token", "a team", "--role", "read", "--json")

    assert said["token"] not in said["table"]
    assert '[clients."team"]' in said["table"]
    assert (wrong.code, wrong.json()["error"]["kind"]) == (2, "usage")
