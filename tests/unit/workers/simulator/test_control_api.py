"""The simulator's control API is strict: a typing error does not pass as a fault that never happens."""

from typing import Any

import pytest

from tests.support.simulator_calls import Caller

WRONG: list[tuple[str, Any, bytes]] = [
    ("faults", {"kind": "dropped"}, b"kind"),
    ("faults", {"kind": "drop", "time": 3}, b"time"),
    ("faults", {"kind": "drop", "times": "3"}, b"times"),
    ("faults", {"kind": "drop", "times": True}, b"times"),
    ("faults", {"kind": "drop", "times": -1}, b"times"),
    ("faults", {"kind": "drop", "probability": 1.5}, b"probability"),
    ("faults", {"kind": "drop", "made": "yes"}, b"made"),
    ("faults", {"kind": "drop", "action": "addnodes"}, b"action"),
    ("faults", [{"kind": "drop"}, {"kind": 7}], b"1.kind"),
    ("faults", "drop", b"body"),
    ("stock", {"nodes": "4"}, b"nodes"),
    ("stock", {}, b"nodes"),
    ("foreign", {"cluster_id": "ehpc-a", "node_count": 0}, b"node_count"),
    ("end-jobs", {"within_s": [1]}, b"within_s"),
    ("quota", {"calls": 0, "period_s": 1}, b"calls"),
    ("options", {"secret_access_key": "x"}, b"secret_access_key"),
    ("options", {"job_duration_s": 3}, b"job_duration_s"),
    ("options", {"job_duration_s": "a while"}, b"job_duration_s"),
]


@pytest.mark.parametrize(("name", "message", "named"), WRONG)
async def test_a_wrong_message_is_refused_by_field_and_does_nothing(
    caller: Caller, name: str, message: Any, named: bytes
) -> None:
    reply = await caller.control(name, message)

    assert (reply.status, named in reply.body) == (400, True)
    assert caller.running.api.faults.faults == []


async def test_a_list_of_faults_is_taken_whole_and_a_number_may_be_whole(caller: Caller) -> None:
    reply = await caller.control(
        "faults", [{"kind": "latency", "seconds": 1}, {"kind": "drop", "times": None}]
    )

    assert (reply.status, reply.json()) == (200, {"faults": 2})
