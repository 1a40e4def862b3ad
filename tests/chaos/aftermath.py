"""After the last fault: waits for every end, decides what is held by the truth, asks again for the lost."""

import json
import subprocess
import sys
import time
from typing import Any

import redis

from tasks.ledger.record_values import State
from tests.chaos.environment import Environment
from tests.chaos.locations import unknown_everywhere
from tests.chaos.producers import MessageProducer, ScheduledRequest, send_until_confirmed
from tests.chaos.verdict import ADD_NODES, records
from tests.support.processes import ROOT

LOOK_S = 1.0
LOOKS_UNTIL_GONE = 4
SKEW_S = 1.0


class Aftermath:
    """`held`: how many operations a person had to decide."""

    def __init__(self, harness: Environment, requests: list[ScheduledRequest]) -> None:
        self._harness = harness
        self._requests = requests
        self._unseen: dict[str, int] = {}
        self.held = 0

    def wait(self, within_s: float) -> bool:
        """Whether everything came to its end."""
        deadline = time.monotonic() + within_s
        with self._harness.server.client() as server:
            while time.monotonic() < deadline:
                self._harness.fleet.tend()
                self._send_lost_again(server)
                for operation_id in server.zrange("scaleout:held", 0, -1):
                    self._decide(server, str(operation_id))
                if self._all_ended(server):
                    return True
                time.sleep(LOOK_S)
        return False

    def _all_ended(self, server: redis.Redis) -> bool:
        keys = [f"scaleout:outcome:{request.request_id}" for request in self._requests]
        told = all(
            json.loads(str(meta or "{}")).get("status") == "SUCCESS"
            for request in self._requests
            if not request.lost_by_the_broker
            for meta in server.mget([f"celery-task-meta-{task_id}" for task_id in request.task_ids] or ["-"])
            if request.task_ids
        )
        return told and int(server.exists(*keys)) == len(keys) and not server.zcard("scaleout:outbox")

    def _send_lost_again(self, server: redis.Redis) -> None:
        """A message that was heard and is neither in the broker nor in the ledger, look after look."""
        heard = [request for request in self._requests if request.way == "message" and request.heard]
        task_ids = [task_id for request in heard for task_id in request.task_ids]
        gone = unknown_everywhere(server, [request.request_id for request in heard], task_ids)
        self._unseen = {name: self._unseen.get(name, 0) + 1 for name in gone}
        for request in heard:
            if self._unseen.get(request.request_id, 0) >= LOOKS_UNTIL_GONE:
                self._harness.history.note(f"{request.request_id} was lost by the broker and is sent again")
                request.lost_by_the_broker += 1
                request.heard = False
                producer = MessageProducer(self._harness.server.url)
                send_until_confirmed(producer.send, request, self._harness.history.note)
                producer.close()
                self._unseen.pop(request.request_id)

    def _decide(self, server: redis.Redis, operation_id: str) -> None:
        """What a person would, who knows the truth."""
        operations = records(server, "operation")
        operation = operations[operation_id]
        if operation["state"] != State.HELD:
            return
        owned = {other.get("job_id") for name, other in operations.items() if name != operation_id}
        job_id = _job_of(operation, self._harness.provider.get("truth"), owned)
        self.held += 1
        because = operation.get("held_reason")
        self._harness.history.note(f"{operation_id} is held, {because}; the truth is {job_id or 'no job'}")
        decision = ["--not-executed"] if job_id is None else ["--adopt", job_id]
        subprocess.run(
            [sys.executable, "-m", "workers.cli.main", "resolve", operation_id, *decision, "--yes"],
            cwd=ROOT,
            env=self._harness.env,
            check=True,
            capture_output=True,
            timeout=60,
        )


def _job_of(operation: dict[str, Any], truth: dict[str, Any], owned: set[Any]) -> str | None:
    """The job that the sending of this operation has made, if any."""
    sent_s = operation["sent_at"] / 1000
    for call in truth["add_nodes_calls"]:
        if call["job_id"] in owned or call["job_id"] is None or call["body"] != operation["body"]:
            continue
        job = next(job for job in truth["jobs"] if job["job_id"] == call["job_id"])
        if job["job_action"] == ADD_NODES and job["created_at"] >= sent_s - SKEW_S:
            return str(call["job_id"])
    return None
