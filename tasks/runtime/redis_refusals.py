"""Replies by which a Redis server says that it cannot now. They are an outage, and no fault of ours."""

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

log = structlog.get_logger(__name__)

REMEDIES = {
    "OOM": "raise maxmemory or free memory; the policy has to stay noeviction",
    "MISCONF": "the server cannot save to its disk: see its log",
    "READONLY": "the server is a replica now: a new connection may reach the master",
    "MASTERDOWN": "the replica has lost its master: a new connection may reach the new one",
    "NOREPLICAS": "too few replicas are connected for min-replicas-to-write",
    "LOADING": "the server is loading its data: wait",
    "BUSY": "a script occupies the server: see SCRIPT KILL",
    "UNBLOCKED": "the server has just become a replica",
    "CLUSTERDOWN": "the cluster is down; a Redis Cluster is not supported",
    "TRYAGAIN": "wait",
    "NOPERM": "grant the user of the URL this command and key",
    "NOAUTH": "the server needs a password in the URL",
    "WRONGPASS": "the password in the URL is wrong",
}
# After these the server will not change its mind for this connection: another one may reach another server.
OTHER_SERVER = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})

# redis-py drops the code of errors that it has a class for, and a script's error has it further on.
CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
}
CODE = re.compile(rf"(?:^|-|\s)({'|'.join(REMEDIES)})(?=\s)")
SHOWN_CHARS = 200
OVER_AFTER_S = 2.0


class ServerRefuses(RedisConnectionError):  # noqa: N818 - named by what it does
    """The server answers, and refuses. `code`: one of REMEDIES."""

    def __init__(self, code: str, reply: str) -> None:
        self.code = code
        super().__init__(f"Redis refuses: {code} {reply[:SHOWN_CHARS]} ({REMEDIES[code]})")


def refusal_of(error: Exception) -> ServerRefuses | None:
    """Return the refusal if the reply says that the server cannot now, else None."""
    if not isinstance(error, ResponseError):
        return None
    text = str(error)
    code = CLASSES.get(type(error).__name__)
    if code is None and (found := CODE.search(text)) is not None:
        code = found.group(1)
    return None if code is None else ServerRefuses(code, text.removeprefix(f"{code} "))


@dataclass(slots=True)
class _Outage:
    """`command`: what was refused last; None if nothing is refused. Times by the monotonic clock."""

    command: tuple[Any, ...] | None = None
    since: float = 0.0
    last: float = 0.0


_outages: dict[str, _Outage] = defaultdict(_Outage)


class RefusalLog:
    """Logs an outage once, and once that it is over, whatever number of commands and clients meets it.

    It is over when the command that was refused last succeeds: a server without memory, or a replica, goes on
    executing those that only read.

    Args:
        server: its address. A process that cannot begin makes one client after the other for it.
    """

    def __init__(self, server: str) -> None:
        self._outage = _outages[server]
        self._other_server = False

    def noted(self, arguments: Sequence[Any], error: Exception) -> Exception:
        """Return the error as a refusal if it is one, which is logged then."""
        refusal = refusal_of(error)
        if refusal is None:
            return error
        self._outage.last = time.monotonic()
        if self._outage.command is None:
            self._outage.since = self._outage.last
            log.warning("redis_refuses", code=refusal.code, detail=str(refusal))
        self._outage.command = tuple(arguments[:2])
        self._other_server = self._other_server or refusal.code in OTHER_SERVER
        return refusal

    def succeeded(self, arguments: Sequence[Any]) -> None:
        if self._outage.command is None or tuple(arguments[:2]) != self._outage.command:
            return
        # A script that finds nothing to write succeeds in the midst of an outage.
        if time.monotonic() - self._outage.last > OVER_AFTER_S:
            self._outage.command = None
            log.info("redis_accepts", refused_s=round(time.monotonic() - self._outage.since, 1))

    def take_other_server(self) -> bool:
        """Return once whether another server has to be reached."""
        taken, self._other_server = self._other_server, False
        return taken
