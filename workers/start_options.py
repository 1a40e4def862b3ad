"""Celery's options of a worker: each works, or is refused at start in one line."""

import sys
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

THREADS = "threads"
NO_POOL = "--pool {} is not supported: the worker's pool is threads, which is what it has without this option"
NO_EFFECT = "{} has no effect in a pool of threads: leave it out"
AUTOSCALE = "--autoscale is not supported, as the pool has threads: use --concurrency instead"
BEAT = "--beat is not supported: use the policy file's schedules, or run celery beat as a process of its own"
WITHOUT_QUEUE = "--queues {} leaves out the queue {}: name it, or leave the option out"
EXCLUDED = "--exclude-queues {} leaves out the queue of requests: leave the option out"
USELESS = ("max_tasks_per_child", "max_memory_per_child", "time_limit", "soft_time_limit")


def given_options() -> dict[str, Any]:
    """Return the options that the command line has, by name; none if it was started by other means."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if (pool := _pool_in(sys.argv)) is not None:
        # Celery replaces `prefork` by the pool of the settings.
        given["pool"] = pool
    return given


def _pool_in(arguments: Sequence[str]) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("-P", "--pool"):
            return following
        if argument.startswith(("--pool=", "-P")):
            return argument.removeprefix("--pool=").removeprefix("-P")
    return None


def problem_with(given: dict[str, Any], queue: str) -> str | None:
    """Return why a worker cannot start with these options; None if it can.

    Args:
        queue: of requests, which every worker reads.
    """
    pool = str(given.get("pool") or THREADS)
    if given.get("autoscale"):
        return AUTOSCALE
    if pool != THREADS:
        return NO_POOL.format(pool)
    if given.get("beat"):
        return BEAT
    for name in USELESS:
        if given.get(name):
            return NO_EFFECT.format(f"--{name.replace('_', '-')}")
    queues = names_of(given.get("queues"))
    if queues and queue not in queues:
        return WITHOUT_QUEUE.format(",".join(queues), queue)
    if queue in names_of(given.get("exclude_queues")):
        return EXCLUDED.format(queue)
    return None


def names_of(queues: Any) -> list[str]:
    """Return the names in an option's value, which Celery gives as a text or a list."""
    if not queues:
        return []
    parts = queues.split(",") if isinstance(queues, str) else list(queues)
    return [str(part).strip() for part in parts if str(part).strip()]
