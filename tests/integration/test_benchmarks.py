"""Each system that the benchmarks set side by side does its work, so that the comparison cannot rot."""

from itertools import pairwise

import pytest

from benchmarks import memory
from benchmarks.contenders import CONTENDERS, ONE_CALL, Request, System
from benchmarks.environment import Conditions, requests_on_clusters
from benchmarks.options import Options
from benchmarks.run import run

pytestmark = pytest.mark.slow
POLL_S = 0.2
PROVIDER = {"job_duration_s": "0.6-0.8", "log_lag_s": 0}
SETTINGS = {"TICK_S": 0.1, "COALESCE_WINDOW_S": 0.1}
CONDITIONS = Conditions(POLL_S, PROVIDER, within_s=40, settings=SETTINGS)


def left_out(system: System) -> None:
    if not system.usable:
        pytest.skip("arq has an environment of its own: make bench-venv")


@pytest.mark.parametrize("system", CONTENDERS, ids=lambda system: system.name)
def test_every_system_polls_its_jobs_and_its_cost_is_measured(system: System) -> None:
    left_out(system)
    requests = [
        *requests_on_clusters(3),
        Request("same-1", "ehpc-same", 2),
        Request("same-2", "ehpc-same", 2),
    ]

    found = run(system, requests, CONDITIONS)

    assert {outcome.request_id for outcome in found.outcomes} == {r.request_id for r in requests}
    assert all(delay >= 0 for delay in (found.delay().p50, found.to_the_wire().p50))
    # ChangeSet of one cluster are kept apart, or made as one.
    same = [job for job in found.jobs.values() if job.cluster_id == "ehpc-same"]
    assert len(same) in (1, 2)
    assert all(job.created_at >= before.ends_at for before, job in pairwise(same))
    assert found.calls("addNodes") == len(found.jobs)
    assert found.polling_calls >= 1
    assert found.cpu_s > 0
    assert found.peak_mb > 20
    assert found.redis.total >= 2 * len(requests)
    assert found.messages >= (0 if system.message_command is None else len(requests))


def test_the_least_that_celery_can_do_is_one_call_a_request() -> None:
    found = run(ONE_CALL, requests_on_clusters(3), CONDITIONS)

    assert found.calls() == found.calls("addNodes") == 3


def test_what_a_request_takes_of_the_servers_memory_is_measured() -> None:
    (table,) = memory.measure(Options(size=50)).tables

    running, ended, owner, _ = [row[1] for row in table.rows]
    assert isinstance(running, int)
    assert isinstance(ended, int)
    assert 1_000 < running < 10_000
    assert 2_000 < ended < 20_000
    assert owner in range(50, 100)
