"""Celery's callbacks of a task (link, link_error, chain, group, chord): taken off, kept, and sent at the end.

Celery's tracer would send them when the body returns, long before there is an outcome. Source: celery 5.7,
app/trace.py and backends/base.py, whose order and arguments are kept.
"""

from collections.abc import Mapping
from typing import Any

from celery import Celery, signature, states
from celery.app.task import Context

FIELDS = ("callbacks", "errbacks", "chain", "chord", "group", "group_index", "root_id", "parent_id")
TAKEN_OFF = ("callbacks", "errbacks", "chain", "chord")
CELERYS_QUEUE = "celery"
OURS = "scaleout."
SUCCEEDED = frozenset({"succeeded", "partially_succeeded"})


def take_callbacks(request: Context) -> dict[str, Any] | None:
    """Take the callbacks off a task's request, and return them as JSON can keep them; None without any."""
    if not any(getattr(request, name, None) for name in TAKEN_OFF):
        return None
    taken = {name: getattr(request, name, None) for name in FIELDS}
    for name in TAKEN_OFF:
        setattr(request, name, None)
    return taken


def send_callbacks(app: Celery, task_id: str, kept: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Send what the producer has linked to the task, with the outcome as its first argument.

    `link` and the rest of a chain follow an outcome that has added nodes, `link_error` any other. A chord's
    body follows all of its tasks, however they have ended: for Celery each end is a success.
    """
    about = {"parent_id": task_id, "root_id": kept.get("root_id") or task_id}
    if outcome.get("status") in SUCCEEDED:
        linked = [_routed(one) for one in kept.get("callbacks") or ()]
        chain = list(kept.get("chain") or ())
        if chain:
            following = _routed(chain.pop())
            signature(following, app=app).apply_async((outcome,), chain=chain, **about)
    else:
        linked = [_routed(one) for one in kept.get("errbacks") or ()]
    for one in linked:
        signature(one, app=app).apply_async((outcome,), **about)
    if kept.get("chord"):
        request = Context(id=task_id, delivery_info={}, **{name: kept.get(name) for name in FIELDS})
        request.chord = signature(_routed(kept["chord"]), app=app)
        app.backend.on_chord_part_return(request, states.SUCCESS, outcome)


def _routed(sent: Any) -> dict[str, Any]:
    """Return a signature that goes to Celery's own default queue if it names none.

    This worker's default queue is its own, in which nobody knows a producer's tasks.
    """
    found = dict(sent)
    options = dict(found.get("options") or {})
    name = str(found.get("task", ""))
    inner = dict(found.get("kwargs") or {})
    for part in ("tasks", "header"):
        if isinstance(inner.get(part), list | tuple):
            inner[part] = [_routed(one) for one in inner[part]]
    if isinstance(inner.get("body"), Mapping):
        inner["body"] = _routed(inner["body"])
    if not (options.keys() & {"queue", "exchange", "routing_key"} or name.startswith((OURS, "celery."))):
        options["queue"] = CELERYS_QUEUE
    return {**found, "options": options, "kwargs": inner}
