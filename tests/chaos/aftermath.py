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
from tests.chaos.producers import MessageProducer, ScheduledRequest, ask_until_heard
from tests.chaos.verdict import ADD_NODES, records
from tests.support.processes import ROOT

LOOK_S = 1.0
LOOKS_UNTIL_GONE = 4
SKEW_S = 1.0


class Aftermath:
    """`held`: how many operations a person had to decide."""

    def __init__(self, harness: Environment, asked: list[ScheduledRequest]) -> None:
        self._ground = harness
        self._asked = asked
        self._unseen: dict[str, int] = {}
        self.held = 0

    def wait(self, within_s: float) -> bool:
        """Whether everything came to its end."""
        deadline = time.monotonic() + within_s
        with self._ground.server.client() as server:
            while time.monotonic() < deadline:
                self._ground.fleet.tend()
                self._ask_again_for_what_is_gone(server)
                for operation_id in server.zrange("scaleout:held", 0, -1):
                    self._decide(server, str(operation_id))
                if self._all_ended(server):
                    return True
                time.sleep(LOOK_S)
        return False

    def _all_ended(self, server: redis.Redis) -> bool:
        keys = [f"scaleout:outcome:{asking.request_id}" for asking in self._asked]
        told = all(
            json.loads(str(meta or "{}")).get("status") == "SUCCESS"
            for asking in self._asked
            if not asking.lost_by_the_broker
            for meta in server.mget([f"celery-task-meta-{task_id}" for task_id in asking.task_ids] or ["-"])
            if asking.task_ids
        )
        return told and int(server.exists(*keys)) == len(keys) and not server.zcard("scaleout:outbox")

    def _ask_again_for_what_is_gone(self, server: redis.Redis) -> None:
        """A message that was heard and is neither in the broker nor in the ledger, look after look."""
        heard = [asking for asking in self._asked if asking.way == "message" and asking.heard]
        task_ids = [task_id for asking in heard for task_id in asking.task_ids]
        gone = unknown_everywhere(server, [asking.request_id for asking in heard], task_ids)
        self._unseen = {name: self._unseen.get(name, 0) + 1 for name in gone}
        for asking in heard:
            if self._unseen.get(asking.request_id, 0) >= LOOKS_UNTIL_GONE:
                self._ground.history.note(f"{asking.request_id} was lost by the broker and is sent again")
                asking.lost_by_the_broker += 1
                asking.heard = False
                producer = MessageProducer(self._ground.server.url)
                ask_until_heard(producer.ask, asking, self._ground.history.note)
                producer.close()
                self._unseen.pop(asking.request_id)

    def _decide(self, server: redis.Redis, operation_id: str) -> None:
        """What a person would, who knows the truth."""
        operations = records(server, "operation")
        operation = operations[operation_id]
        if operation["state"] != State.HELD:
            return
        owned = {other.get("job_id") for name, other in operations.items() if name != operation_id}
        job_id = _job_of(operation, self._ground.provider.get("truth"), owned)
        self.held += 1
        because = operation.get("held_because")
        self._ground.history.note(f"{operation_id} is held, {because}; the truth is {job_id or 'no job'}")
        decision = ["--not-executed"] if job_id is None else ["--adopt", job_id]
        subprocess.run(
            [sys.executable, "-m", "workers.cli.main", "resolve", operation_id, *decision, "--yes"],
            cwd=ROOT,
            env=self._ground.env,
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
