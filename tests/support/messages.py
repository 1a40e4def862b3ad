"""Messages as kombu keeps them in a list, for producers that are not Celery."""

import base64
from typing import Any


def message(body: bytes, task_id: str, queue: str = "scaleout", **headers: str) -> dict[str, Any]:
    """A message as kombu keeps it in a list."""
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "scaleout.add_nodes", "id": task_id, **headers},
        "properties": {
            "delivery_tag": task_id,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }
