"""What a load takes of an account, beside what was measured."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.quota import plan as measured
from tasks.quota.plan import HOUR_S, Account, Load, Plan, max_submission_calls, plan, poll
from tests.support.processes import ROOT

WEEK_S = 7 * 86_400
ACCOUNT = Account(limit=2_000, window_s=3_600, poll_interval_s=5, kept_s=WEEK_S)
accounts = st.builds(
    Account,
    limit=st.integers(4, 20_000),
    window_s=st.floats(1, 100_000),
    poll_interval_s=st.floats(0.1, 600),
    kept_s=st.just(WEEK_S),
)
loads = st.builds(
    Load,
    jobs=st.integers(1, 100_000),
    clusters=st.integers(100, 20_000),
    zones=st.integers(1, 100),
    nodes=st.integers(50, 99),
    requests=st.integers(1, 50),
    job_duration=st.floats(1, 86_400),
)


def load(jobs: int = 500, clusters: int = 40, **more: Any) -> Load:
    return Load.model_validate({"jobs": jobs, "clusters": clusters, "job_duration": 120, **more})


def table(benchmark: str, title: str) -> list[list[Any]]:
    report = json.loads((ROOT / f"docs/benchmarks/{benchmark}.json").read_text(encoding="utf-8"))
    (rows,) = [found["rows"] for found in report["tables"] if title in found["title"]]
    return list(rows)


def more_jobs(wanted: Load, more: int) -> Load:
    return wanted.model_copy(update={"jobs": wanted.jobs + more})


# What was measured


def test_delays_and_calls_are_those_of_the_budget_benchmark() -> None:
    rows = table("budget", "from a job's end to its outcome")
    assert [row[0] for row in rows] == [100, 500, 2_000]

    for running, mean_s, _, _, p99_s, calls in rows:
        polling = poll(ACCOUNT, running=running)
        assert polling.interval_s / 2 == pytest.approx(mean_s, rel=0.1)
        assert polling.interval_s == pytest.approx(p99_s, rel=0.1)
        assert polling.calls == pytest.approx(calls, rel=0.01)


def test_with_too_many_jobs_calls_are_those_of_the_overload_benchmark() -> None:
    ((_, limit, most, _, used),) = table("budget", "More work of every class")
    found = plan(load(100_000, 12_000, job_duration=600), ACCOUNT)

    assert found.limited_by == ("quota", "clusters")
    assert found.polling_calls + found.submission_calls <= most
    percent = 100 * (found.polling_calls + found.submission_calls) / limit
    assert f"{percent:.0f}" == used.partition(".")[0]


def test_bytes_and_cpu_are_not_below_what_was_measured() -> None:
    figures = [row[1] for row in table("memory", "Bytes of the server's memory")]
    names = (measured.RUNNING_BYTES, measured.ENDED_BYTES, measured.JOB_OWNER_BYTES, measured.CLUSTER_BYTES)
    throughput = {row[0]: row[1] for row in table("throughput", "one worker: figures")}
    # 10,000 jobs, a poll of a hundred pages: CPU in percent, calls a second.
    (most,) = [row for row in table("growth", "By number") if row[1] == 10_000]

    assert all(kept >= figure for kept, figure in zip(names, figures, strict=True))
    assert all(kept <= 2 * figure for kept, figure in zip(names, figures, strict=True))
    assert throughput["worker CPU ms/request"] <= measured.REQUEST_CPU_MS
    assert 10 * most[4] / most[5] <= measured.PAGE_CPU_MS


# What a plan says


def test_five_hundred_jobs_an_hour_fit_on_forty_clusters() -> None:
    found = plan(load(500, 40), ACCOUNT)

    assert found.limited_by == ()
    assert (found.polling_calls, found.submission_calls) == (720, 1_000)
    assert (found.mean_delay_s, found.worst_delay_s) == (2.5, 5)
    assert (found.max_submission_calls, found.max_jobs) == (1_120, 560)
    assert found.workers == 1


def test_submissions_get_what_polling_does_not_need_and_85_percent_at_most() -> None:
    slow = Account(limit=2_000, window_s=3_600, poll_interval_s=60, kept_s=WEEK_S)

    assert max_submission_calls(ACCOUNT, running=100) == 1_840 - 720
    assert max_submission_calls(ACCOUNT, running=10_000) == 1_840 - 800
    assert max_submission_calls(slow, running=100) == 1_700


def test_a_cluster_runs_one_job_after_the_other() -> None:
    found = plan(load(100, 2, job_duration=597.5), ACCOUNT)

    assert (found.limited_by, found.max_jobs) == (("clusters",), 12)
    assert found.running == 2


def test_each_zone_has_pages_of_its_own() -> None:
    one, ten = (poll(ACCOUNT, running=100, zones=zones) for zones in (1, 10))

    assert one.interval_s == 5
    assert ten.interval_s == pytest.approx(10 * 3_600 / (1_840 - 10 - 2))
    assert poll(ACCOUNT, running=3, zones=10) == poll(ACCOUNT, running=3, zones=3)


def test_requests_that_share_a_job_cost_memory_and_no_calls() -> None:
    alone, shared = plan(load(500), ACCOUNT), plan(load(500, nodes=10, requests=10), ACCOUNT)

    assert shared.max_requests == 10 * alone.max_requests
    assert shared.submission_calls == alone.submission_calls
    assert shared.redis_bytes > 8 * alone.redis_bytes


def test_a_hundred_times_the_quota_needs_more_than_one_worker() -> None:
    large = Account(limit=10_000_000, window_s=3_600, poll_interval_s=1, kept_s=WEEK_S)

    assert plan(load(1_000_000, 100_000), large).workers > 1


@given(wanted=loads, account=accounts)
def test_calls_never_exceed_the_quota(wanted: Load, account: Account) -> None:
    found = plan(wanted, account)

    quota = account.limit * HOUR_S / account.window_s
    assert found.polling_calls + found.submission_calls <= quota * 1.000_001
    assert found.submission_calls <= found.max_submission_calls
    assert found.left_calls >= 0


@given(wanted=loads, account=accounts, more=st.integers(1, 10_000))
def test_more_jobs_never_shorten_the_interval_nor_fit_better(
    wanted: Load, account: Account, more: int
) -> None:
    fewer, found = plan(wanted, account), plan(more_jobs(wanted, more), account)

    assert found.poll_interval_s >= fewer.poll_interval_s * 0.999_999
    assert found.mean_delay_s <= found.worst_delay_s
    assert found.poll_interval_s >= account.poll_interval_s
    assert set(fewer.limited_by) <= set(found.limited_by)
    assert found.max_jobs == fewer.max_jobs


@given(wanted=loads, account=accounts)
def test_the_most_jobs_fit_and_one_more_does_not(wanted: Load, account: Account) -> None:
    most = plan(wanted, account).max_jobs

    def planned(jobs: int) -> Plan:
        return plan(wanted.model_copy(update={"jobs": jobs}), account)

    assert most == 0 or planned(most).limited_by == ()
    assert planned(most + 1).limited_by != ()


@given(wanted=loads, account=accounts, more=st.integers(1, 10_000))
def test_a_larger_quota_never_serves_fewer_jobs(wanted: Load, account: Account, more: int) -> None:
    larger = Account(account.limit + more, account.window_s, account.poll_interval_s, account.kept_s)

    assert plan(wanted, larger).max_jobs >= plan(wanted, account).max_jobs
