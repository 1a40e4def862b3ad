"""Celery's settings for this project, each with its reason unless it is a matter of taste."""

from collections.abc import Mapping
from typing import Any

from config.celery_servers import server_options
from config.settings import DEFAULT_PREFIX, LedgerSettings

APP_NAME = "workers"
ADD_NODES = "scaleout.add_nodes"
CANCEL = "scaleout.cancel"
SWEEP = "scaleout.sweep"

SOCKET_TIMEOUT_S = 5
HEALTH_CHECK_S = 5
VISIBILITY_TIMEOUT_S = 60
RESTORING_S = 10
CONCURRENCY = 8


def celery_options(settings: LedgerSettings, *, result_expires_s: float) -> Mapping[str, Any]:
    """Options for `app.conf.update`, for workers and for programs that only send.

    `result_expires_s` must outlast the longest request, for its result is stored when the request ends.
    """
    # With a frozen connection and no timeouts a worker did not recover within 150 s; with these, within 17.
    sockets = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
    }
    servers, prefix = server_options(settings), settings.key_prefix
    # A second installation on the server has remote control and events of its own. The first one has Celery's
    # names, so that a client without settings reaches it.
    exchanges = (
        {} if prefix == DEFAULT_PREFIX else {"control_exchange": prefix, "event_exchange": f"{prefix}.events"}
    )
    return {
        **exchanges,
        **servers,
        "broker_transport_options": {
            **servers["broker_transport_options"],
            **sockets,
            "health_check_interval": HEALTH_CHECK_S,
            # Bodies take seconds and nothing has an ETA, so a dead worker's message may return soon.
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # Who restores messages holds a lock; one that died with it kept all others from it for 300 s.
            "unacked_mutex_expire": RESTORING_S,
            # Under kombu's own names, which all applications on the server share, each would restore the
            # others' messages by its own timeout.
            "unacked_key": f"{prefix}:unacked",
            "unacked_index_key": f"{prefix}:unacked-index",
            "unacked_mutex_key": f"{prefix}:unacked-mutex",
            # What the transport waits for. Sweep messages are found by the next claim.
            "awaited_queue": settings.queue,
        },
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "redis_socket_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_connect_timeout": SOCKET_TIMEOUT_S,
        # A socket of this machine has no such option, and redis-py refuses it there.
        "redis_socket_keepalive": not settings.results_address.startswith("unix://"),
        "redis_backend_health_check_interval": HEALTH_CHECK_S,
        "result_backend_always_retry": True,
        "result_backend_max_retries": 20,
        "result_expires": int(result_expires_s),
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "enable_utc": True,
        "timezone": "UTC",
        "task_default_queue": settings.queue,
        "task_routes": {SWEEP: {"queue": settings.sweep_queue}},
        "task_create_missing_queues": True,
        # A message is gone from the broker only once the ledger has what it says.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": "threads",
        "worker_concurrency": CONCURRENCY,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "task_track_started": False,
    }
