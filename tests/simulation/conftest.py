"""The simulation writes no log, and reads one pool of a cluster where there are more."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog

from tasks.handlers import plan_cluster


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    before = structlog.get_config()
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level, cache_logger_on_first_use=False)
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _one_pool_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cluster, "POOLS_AT_ONCE", 1)


@pytest.fixture
def server(redis_url: str, redis_socket: Path) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(redis_socket), decode_responses=True) as client:
        yield client
