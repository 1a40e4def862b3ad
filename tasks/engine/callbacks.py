"""Celery's callbacks of a task (link, link_error, chain, group, chord): taken off, kept, and sent at the end.

Celery's tracer would send them when the body returns, long before there is an outcome. Source: celery 5.7,
app/trace.py and backends/base.py, whose order and arguments are kept.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog
from celery import Celery, signature, states
from celery.app.task import Context
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

FIELDS = ("callbacks", "errbacks", "chain", "chord", "group", "group_index", "root_id", "parent_id")
TAKEN_OFF = ("callbacks", "errbacks", "chain", "chord")
CELERYS_QUEUE = "celery"
OURS = "scaleout."
# The last two are the answers to a dry run.
GOOD = frozenset({"succeeded", "partially_succeeded", "accepted", "waiting"})

log = structlog.get_logger(__name__)


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

    What cannot be sent, now or later, is logged, and stops nothing else.

    Raises:
        OperationalError, RedisError, OSError: the broker or the result store is away.
    """
    for send in _sends(app, task_id, kept, outcome):
        try:
            send()
        except (OperationalError, RedisError, OSError):
            raise
        except Exception:
            log.exception("callback_not_sent", task_id=task_id)


def _sends(
    app: Celery, task_id: str, kept: Mapping[str, Any], outcome: Mapping[str, Any]
) -> Iterator[Callable[[], object]]:
    about = {"parent_id": task_id, "root_id": kept.get("root_id") or task_id}

    def send(linked: Any, **options: Any) -> None:
        signature(_routed(linked), app=app).apply_async((outcome,), **options, **about)

    succeeded = outcome.get("status") in GOOD
    for linked in _listed(kept.get("callbacks" if succeeded else "errbacks")):
        yield partial(send, linked)
    if succeeded and (chain := _listed(kept.get("chain"))):
        yield partial(send, chain[-1], chain=chain[:-1])
    if kept.get("chord"):
        yield partial(_return_chord_part, app, task_id, kept, outcome)


def _return_chord_part(
    app: Celery, task_id: str, kept: Mapping[str, Any], outcome: Mapping[str, Any]
) -> None:
    request = Context(id=task_id, delivery_info={}, **{name: kept.get(name) for name in FIELDS})
    request.chord = signature(_routed(kept["chord"]), app=app)
    app.backend.on_chord_part_return(request, states.SUCCESS, outcome)


def _listed(value: Any) -> list[Any]:
    """Return a list that a message has; one of another shape is a single thing that cannot be sent."""
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


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
