"""What is relied on of the server, on releases of Redis; all other tests run on Valkey."""

from pathlib import Path

import pytest

from tests.on_redis import run
from tests.support.redis_releases import RELEASES, NotAvailable, redis_release


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("release", RELEASES)
def test_ledger_messages_and_lost_calls_work_on_a_release_of_redis(release: str, tmp_path: Path) -> None:
    try:
        server = redis_release(release, tmp_path)
    except NotAvailable as error:
        pytest.skip(str(error))

    done = run(server, "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout[-10_000:]
