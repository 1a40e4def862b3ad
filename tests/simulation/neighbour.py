"""A second installation on the same server: the same ids under another prefix, and nobody may touch them."""

from typing import Any

import redis

PREFIX = b"scaleout"
OTHER_PREFIX = b"scaleout-b"  # begins as the first one does: a careless pattern takes both


class Neighbour:
    """Takes over what a history has left on the server."""

    def __init__(self, server: redis.Redis) -> None:
        pool: Any = server.connection_pool
        # It decodes nothing: dumps are no text.
        given = pool.connection_kwargs | {"decode_responses": False}
        self._server: Any = redis.Redis.from_pool(redis.ConnectionPool(pool.connection_class, **given))
        keys: Any = self._server.keys(PREFIX + b"*")
        for key in keys:
            self._server.rename(key, OTHER_PREFIX + key.removeprefix(PREFIX))
        self._before = self._dumps()
        assert self._before, "a neighbour without a key proves nothing"

    def check(self) -> None:
        """Demand that nothing of it was changed, added or removed."""
        after = self._dumps()
        differ = [key for key in {*self._before, *after} if self._before.get(key) != after.get(key)]
        assert not differ, f"another installation's keys were touched: {sorted(differ)}"
        self._server.delete(*after)
        self._server.close()

    def _dumps(self) -> dict[bytes, bytes]:
        return {key: self._server.dump(key) for key in self._server.keys(OTHER_PREFIX + b"*")}
