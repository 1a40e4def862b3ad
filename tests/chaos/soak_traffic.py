"""Beside a soak's Celery messages: clients of the gateway that submit, wait, follow, scrape and vanish."""

import json
import random
import threading
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from scaleout_client import NotSucceeded, ScaleoutClient, Unreachable
from tests.chaos.producers import ScheduledRequest

SCRAPED = ("/metrics", "/", "/v1/requests?limit=50", "/v1/stats", "/v1/doctor", "/readyz", "/healthz")
SCRAPE_S = 5.0
AGAIN_S = 0.5
SILENCE_S = 40.0  # a stream has a comment every 15 s
WAIT_S = 20.0
FAILS_EVERY = 10

Answer = tuple[int, dict[str, str]]


@dataclass
class Traffic:
    """What the gateway's clients and the webhooks' receiver have seen; `over` ends the clients.

    Fields:
        streamed: requests whose outcome the lasting stream has shown.
        delivered: requests of whose outcome the receiver has confirmed a delivery.
        answers: statuses of all calls but those of producers and streams, None where nothing came back.
    """

    over: threading.Event = field(default_factory=threading.Event)
    submitted: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    streamed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    deliveries: int = 0
    answers: Counter[int | None] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _failed: set[str] = field(default_factory=set)

    def receive(self, content: dict[str, Any]) -> Answer:
        """The receiver's answer: every tenth delivery fails once, and comes again."""
        self.deliveries += 1
        name = str(content["data"].get("request_id"))
        if self.deliveries % FAILS_EVERY == 0 and name not in self._failed:
            self._failed.add(name)
            return 500, {}
        if content["type"] == "outcome":
            self.delivered.add(name)
        return 204, {}


class HttpProducer:
    """A client of the gateway that itself calls again."""

    def __init__(self, url: str, traffic: Traffic) -> None:
        self._client = ScaleoutClient(url, give_up_s=0.0)
        self._submitted = traffic.submitted

    def send(self, request: ScheduledRequest) -> None:
        """Raises ConnectionError if it was not answered, or was told to come again."""
        try:
            self._client.request(**request.fields)
        except Unreachable as error:
            raise ConnectionError(str(error)) from error
        self._submitted.append(request.request_id)

    def close(self) -> None:
        """Nothing is kept open."""


@contextmanager
def clients_of(url: str, traffic: Traffic) -> Iterator[None]:
    """Run clients of a gateway until the block ends."""
    work: list[Callable[[str, Traffic], None]] = [_follow, _wait, _wait, _scrape, *[_come_and_vanish] * 3]
    threads = [threading.Thread(target=_kept, args=(one, url, traffic), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        traffic.over.set()
        for thread in threads:
            thread.join(SILENCE_S + WAIT_S)


def _kept(work: Callable[[str, Traffic], None], url: str, traffic: Traffic) -> None:
    while not traffic.over.is_set():
        try:
            work(url, traffic)
        except (OSError, HTTPException):
            # Redis is away, or the stream has ended: come back.
            traffic.over.wait(AGAIN_S)
        except Exception as error:  # noqa: BLE001 - told at the end
            traffic.failures.append(f"{work.__name__}: {error!r}")
            traffic.over.wait(AGAIN_S)


def _open(url: str, timeout_s: float, **headers: str) -> HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named)
    return cast("HTTPResponse", urllib.request.urlopen(request, timeout=timeout_s))


def _follow(url: str, traffic: Traffic) -> None:
    """One reader for the whole run, which continues from the last event it has seen."""
    last = kind = ""
    while not traffic.over.is_set():
        headers = {"Last_Event_ID": last} if last else {}
        try:
            with _open(f"{url}/v1/events", SILENCE_S, **headers) as stream:
                for raw in stream:
                    name, _, value = raw.decode().rstrip("\r\n").partition(": ")
                    last = value if name == "id" else last
                    kind = value if name == "event" else kind
                    if name == "data" and kind == "outcome":
                        traffic.streamed.add(str(json.loads(value)["request_id"]))
                    if traffic.over.is_set():
                        return
        except (OSError, HTTPException):
            traffic.over.wait(AGAIN_S)


def _come_and_vanish(url: str, traffic: Traffic) -> None:
    """A reader that reads for a while and goes without a word."""
    reads = random.SystemRandom().randint(1, 60)
    with _open(f"{url}/v1/events", SILENCE_S) as stream:
        for _, _ in zip(range(reads), stream, strict=False):
            if traffic.over.is_set():
                return


def _wait(url: str, traffic: Traffic) -> None:
    if not traffic.submitted:
        traffic.over.wait(AGAIN_S)
        return
    try:
        ScaleoutClient(url, give_up_s=0.0).wait(traffic.submitted[-1], WAIT_S)
        traffic.answers[200] += 1
    except (TimeoutError, NotSucceeded):
        traffic.answers[200] += 1
    except Unreachable:
        traffic.answers[None] += 1
    traffic.over.wait(AGAIN_S)


def _scrape(url: str, traffic: Traffic) -> None:
    for path in SCRAPED:
        try:
            with _open(url + path, WAIT_S) as answer:
                answer.read()
                traffic.answers[answer.status] += 1
        except urllib.error.HTTPError as error:
            with error:
                traffic.answers[error.code] += 1
        except OSError:
            traffic.answers[None] += 1
    traffic.over.wait(SCRAPE_S)
