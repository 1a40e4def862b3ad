"""Where in the broker a message is, looked at from outside."""

from typing import Any

import redis

QUEUE, UNACKED = "scaleout", "scaleout:unacked"


def unknown_everywhere(server: redis.Redis, request_ids: list[str], task_ids: list[str]) -> set[str]:
    """Those of `request_ids` that are not in the ledger, while no message of `task_ids` waits or is unacked.

    One look, in one transaction: a worker that has just taken a message out may still write it down.
    """
    with server.pipeline(transaction=True) as pipe:
        pipe.lrange(QUEUE, 0, -1)
        pipe.hvals(UNACKED)
        for request_id in request_ids:
            pipe.exists(f"scaleout:request:{request_id}")
        waiting, unacked, *known = pipe.execute()
    messages: list[Any] = [*waiting, *unacked]
    in_broker = {
        task_id for task_id in task_ids for message in messages if f'"{task_id}"' in unescaped(message)
    }
    owners = {task_id.rpartition(".t")[0] for task_id in in_broker}
    return {
        request_id
        for request_id, there in zip(request_ids, known, strict=True)
        if not there and request_id not in owners
    }


def unescaped(message: str) -> str:
    """kombu may keep a message as JSON inside of JSON."""
    return message.replace('\\"', '"')
