"""The provider's truth: what it takes, what it refuses, and when nodes are there."""

from typing import Any

import pytest

from workers.simulator.cloud import ADD_NODES, DELETE_NODES, Cloud, Job, JobPlan
from workers.simulator.options import SimulatorOptions
from workers.simulator.signature_check import Refused

START = 1_649_689_213.0


class Provider:
    """A cloud, and the hand on its clock."""

    def __init__(self, **options: Any) -> None:
        self.now = START
        given = {"job_duration_s": "10", "log_lag_s": 2.0, **options}
        self.cloud = Cloud(SimulatorOptions(**given), lambda: self.now)

    def add(self, cluster_id: str = "ehpc-a", count: int = 1, **more: Any) -> Job:
        plan = more.pop("plan", None) or self.cloud.plan_job()
        zone = more.pop("zone", "jn1a")
        body = {"cluster_id": cluster_id, "node_count": str(count), "zone": zone, **more}
        return self.cloud.add_nodes(zone, body, plan)

    def delete(self, *node_ids: str, name: str = "node_ids", cluster_id: str = "ehpc-a") -> Job:
        body = {"cluster_id": cluster_id, "zone": "jn1a", name: list(node_ids)}
        return self.cloud.delete_nodes("jn1a", body, self.cloud.plan_job())

    def logged(self, start: float | None = None, end: float | None = None) -> list[str]:
        return [job.job_id for job in self.cloud.operations("jn1a", start, end)]

    def node_ids(self, cluster_id: str = "ehpc-a") -> list[str]:
        return [node.node_id for node in self.cloud.nodes("jn1a", cluster_id)]

    def roles(self, cluster_id: str = "ehpc-a") -> list[str]:
        return [node.role for node in self.cloud.nodes("jn1a", cluster_id)]


@pytest.fixture
def provider() -> Provider:
    return Provider()


def refusal(*arguments: Any, **fields: Any) -> Refused:
    """What `arguments[0]` raises when it is called with the rest."""
    with pytest.raises(Refused) as caught:
        arguments[0](*arguments[1:], **fields)
    return caught.value


@pytest.mark.parametrize(
    ("cluster_id", "role"), [("ehpc-a", "login"), ("ehpc-a", "compute"), ("hpc-a", "login")]
)
def test_a_role_that_the_kind_of_cluster_has_is_taken(provider: Provider, cluster_id: str, role: str) -> None:
    provider.add(cluster_id, 2, node_role=role)
    provider.now += 10

    assert provider.roles(cluster_id) == [role, role]


@pytest.mark.parametrize(
    ("cluster_id", "role"), [("hpc-a", "compute"), ("ehpc-a", "master"), ("ehpc-a", ""), ("hpc-a", None)]
)
def test_a_role_that_the_kind_of_cluster_lacks_is_refused(
    provider: Provider, cluster_id: str, role: str | None
) -> None:
    assert refusal(provider.add, cluster_id, node_role=role).ret_code == 1100
    assert not provider.cloud.jobs


@pytest.mark.parametrize("count", [1, 99])
def test_one_to_99_nodes_can_be_requested(provider: Provider, count: int) -> None:
    provider.add(count=count)
    provider.now += 10

    assert len(set(provider.node_ids())) == count


@pytest.mark.parametrize(
    "field",
    [
        {"node_count": "0"},
        {"node_count": "100"},
        {"node_count": 1},
        {"node_count": ""},
        {"node_count": "-1"},
        {"node_count": None},
        {"cluster_id": "cluster"},
        {"cluster_id": None},
        {"private_ips": ["10.0.0.1", "10.0.0.2"]},
        {"private_ips": "10.0.0.1"},
    ],
)
def test_a_malformed_body_is_refused_and_makes_nothing(provider: Provider, field: dict[str, Any]) -> None:
    body = {"cluster_id": "ehpc-a", "node_count": "1", "zone": "jn1a", **field}

    assert refusal(provider.cloud.add_nodes, "jn1a", body, JobPlan(1)).ret_code == 1100
    assert not provider.cloud.jobs


def test_the_zone_has_to_be_in_the_body_too(provider: Provider) -> None:
    body = {"cluster_id": "ehpc-a", "node_count": "1"}

    assert refusal(provider.cloud.add_nodes, "jn1a", body, JobPlan(1)).ret_code == 1100
    assert refusal(provider.cloud.add_nodes, "jn1a", {**body, "zone": "pek3"}, JobPlan(1)).ret_code == 1100


def test_a_cluster_is_not_found_in_another_zone(provider: Provider) -> None:
    provider.add()

    assert refusal(provider.add, zone="pek3").ret_code == 2100
    assert refusal(provider.cloud.nodes, "pek3", "ehpc-a").ret_code == 2100


def test_a_cluster_that_is_changing_refuses_another_change_as_in_transition(provider: Provider) -> None:
    provider.add()
    provider.now += 9.9

    refused = refusal(provider.add)

    assert (refused.ret_code, "transition" in refused.message) == (1400, True)
    assert len(provider.cloud.jobs) == 1


def test_a_cluster_takes_the_next_change_once_its_job_has_ended(provider: Provider) -> None:
    first = provider.add()
    provider.now += 10
    second = provider.add()

    assert [provider.cloud.status(job) for job in (first, second)] == ["successful", "pending"]


def test_clusters_change_beside_each_other(provider: Provider) -> None:
    for cluster_id in ("ehpc-a", "ehpc-b", "hpc-c"):
        provider.add(cluster_id, node_role="login")

    assert len(provider.cloud.jobs) == 3


def test_a_foreign_change_refuses_ours(provider: Provider) -> None:
    provider.cloud.foreign_job("ehpc-a", "jn1a", 1, "HpcQueueRemoveEhpcQueueNodes")

    assert refusal(provider.add).ret_code == 1400


def test_nodes_are_there_when_the_job_ends_and_not_before(provider: Provider) -> None:
    job = provider.add(count=3)
    provider.now += 9.9
    assert (provider.cloud.status(job), provider.node_ids()) == ("pending", [])
    provider.now += 0.1

    assert provider.node_ids() == job.node_ids
    assert provider.cloud.status(job) == "successful"
    assert {node.create_time for node in provider.cloud.nodes("jn1a", "ehpc-a")} == {START + 10}


def test_nodes_of_an_ended_job_exist_whether_listed_or_not(provider: Provider) -> None:
    provider.add(count=3)
    provider.now += 3600
    provider.cloud.end_due_jobs()

    assert len(provider.cloud.clusters["ehpc-a"].nodes) == 3


@pytest.mark.parametrize("made", [0, 2, 5])
def test_a_job_that_fails_leaves_the_nodes_that_it_made(provider: Provider, made: int) -> None:
    job = provider.add(count=5, plan=JobPlan(10, made=made, error_codes="5200"))
    assert provider.cloud.status(job) == "pending"
    provider.now += 10

    assert (provider.cloud.status(job), job.error_codes) == ("failed", "5200")
    assert len(provider.node_ids()) == made


def test_a_failed_job_never_makes_more_than_was_requested(provider: Provider) -> None:
    assert provider.add(count=5, plan=JobPlan(10, made=7, error_codes="5000")).made == 5


def test_a_cluster_whose_job_failed_takes_the_next_change(provider: Provider) -> None:
    provider.add(plan=JobPlan(10, made=0, error_codes="5000"))
    provider.now += 10
    provider.add()

    assert len(provider.cloud.jobs) == 2


def test_an_odd_status_is_shown_in_the_first_half_only(provider: Provider) -> None:
    job = provider.add(plan=JobPlan(10, odd_status="scaling"))
    seen = []
    for seconds in (0, 4.9, 5, 9.9, 10):
        provider.now = START + seconds
        seen.append(provider.cloud.status(job))

    assert seen == ["scaling", "scaling", "pending", "pending", "successful"]
    assert len(provider.node_ids()) == 1


def test_a_cluster_with_an_odd_status_is_still_changing(provider: Provider) -> None:
    provider.add(plan=JobPlan(10, odd_status="scaling"))

    assert refusal(provider.add).ret_code == 1400


def test_a_job_appears_in_the_log_when_the_lag_is_over(provider: Provider) -> None:
    job = provider.add()
    provider.now += 1.9
    assert provider.logged() == []
    provider.now += 0.1

    assert provider.logged() == [job.job_id]


def test_a_job_that_is_never_listed_still_delivers_its_nodes(provider: Provider) -> None:
    provider.add(plan=JobPlan(10, listed=False))
    provider.now += 3600

    assert provider.logged() == []
    assert len(provider.node_ids()) == 1


def test_the_log_is_in_order_of_time_and_of_one_zone(provider: Provider) -> None:
    jobs = []
    for cluster_id in ("ehpc-a", "ehpc-b", "ehpc-c"):
        jobs.append(provider.add(cluster_id))
        provider.now += 5
    provider.add("ehpc-d", zone="pek3")
    provider.now += 5

    assert provider.logged() == [job.job_id for job in jobs]
    assert len(provider.cloud.operations("pek3", None, None)) == 1
    assert provider.cloud.operations("nowhere", None, None) == []


def test_the_log_is_cut_by_whole_seconds_both_ends_included(provider: Provider) -> None:
    jobs = []
    for cluster_id in ("ehpc-a", "ehpc-b", "ehpc-c"):
        jobs.append(provider.add(cluster_id).job_id)
        provider.now += 5.5
    provider.now += 10

    assert provider.logged(start=START + 5) == jobs[1:]
    assert provider.logged(start=START + 6) == jobs[2:]
    assert provider.logged(end=START + 5) == jobs[:2]
    assert provider.logged(end=START + 4) == jobs[:1]
    assert provider.logged(start=START, end=START) == jobs[:1]


def test_stock_is_taken_by_what_was_accepted(provider: Provider) -> None:
    provider.cloud.set_stock(None, "jn1a", 5)
    provider.add("ehpc-a", 3)

    assert refusal(provider.add, "ehpc-b", 3).ret_code == 5200
    provider.add("ehpc-b", 2)
    assert refusal(provider.add, "ehpc-c", 1).ret_code == 5200


def test_a_refusal_takes_nothing_of_the_stock() -> None:
    provider = Provider(stock=5)
    provider.add("ehpc-a", 1)

    assert refusal(provider.add, "ehpc-a", 1).ret_code == 1400
    assert refusal(provider.add, "ehpc-b", 5).ret_code == 5200
    provider.add("ehpc-b", 4)


def test_a_cluster_can_have_a_stock_of_its_own(provider: Provider) -> None:
    provider.cloud.set_stock(None, "jn1a", 10)
    provider.cloud.set_stock("ehpc-a", "jn1a", 2)

    assert refusal(provider.add, "ehpc-a", 3).ret_code == 5200
    provider.add("ehpc-a", 2)
    assert refusal(provider.add, "ehpc-b", 9).ret_code == 5200
    provider.add("ehpc-b", 8)


def test_stock_that_comes_back_is_unlimited_or_so_many(provider: Provider) -> None:
    provider.cloud.set_stock("ehpc-a", "jn1a", 0)
    assert refusal(provider.add).ret_code == 5200
    provider.cloud.set_stock("ehpc-a", "jn1a", None)

    provider.add(count=99)


def test_a_jobs_duration_is_one_time_or_between_two() -> None:
    steady, varied = Provider(job_duration_s="3"), Provider(job_duration_s="2-6")

    assert {steady.cloud.plan_job().duration_s for _ in range(20)} == {3}
    durations = {varied.cloud.plan_job().duration_s for _ in range(20)}
    assert len(durations) == 20
    assert min(durations) >= 2
    assert max(durations) <= 6


def test_the_same_seed_draws_the_same_names_and_another_seed_others() -> None:
    names = [Provider(seed=seed).add(count=2).node_ids for seed in (1, 1, 2)]

    assert names[0] == names[1]
    assert names[1] != names[2]


@pytest.mark.parametrize("name", ["node_ids", "node_list"])
def test_deleted_nodes_are_gone_when_the_job_ends(provider: Provider, name: str) -> None:
    first, second, third = provider.add(count=3).node_ids
    provider.now += 10
    job = provider.delete(first, third, name=name)
    assert (job.job_action, job.node_ids) == (DELETE_NODES, [first, third])
    provider.now += 9.9
    assert provider.node_ids() == [first, second, third]
    provider.now += 0.1

    assert provider.node_ids() == [second]
    assert provider.cloud.status(job) == "successful"


def test_a_deletion_is_in_the_log_and_makes_no_nodes(provider: Provider) -> None:
    made = provider.add(count=2)
    provider.now += 10
    gone = provider.delete(made.node_ids[0])
    provider.now += 10

    actions = [(job.job_action, job.made) for job in provider.cloud.operations("jn1a", None, None)]
    assert actions == [(ADD_NODES, 2), (DELETE_NODES, 0)]
    assert provider.logged() == [made.job_id, gone.job_id]


def test_at_least_one_node_of_each_role_has_to_stay(provider: Provider) -> None:
    (login,) = provider.add(node_role="login").node_ids
    provider.now += 10
    first, second = provider.add(count=2).node_ids
    provider.now += 10

    for node_ids in ([login], [first, second], [first, login]):
        refused = refusal(provider.delete, *node_ids)
        assert (refused.ret_code, "transition" in refused.message) == (1400, False)
    provider.delete(first)


def test_a_changing_cluster_neither_loses_nor_gets_nodes(
    provider: Provider,
) -> None:
    first, _ = provider.add(count=2).node_ids
    assert "transition" in refusal(provider.delete, first).message
    provider.now += 10
    provider.delete(first)

    assert "transition" in refusal(provider.add).message


def test_nodes_that_the_cluster_does_not_have_cannot_be_deleted(provider: Provider) -> None:
    first, _ = provider.add(count=2).node_ids
    provider.now += 10

    assert refusal(provider.delete, first, "cln-unknown").ret_code == 2100
    assert refusal(provider.delete, first, first).ret_code == 2100
    assert refusal(provider.delete, first, cluster_id="ehpc-b").ret_code == 2100
    assert len(provider.node_ids()) == 2


@pytest.mark.parametrize(
    "field", [{"node_ids": []}, {"node_ids": "cln-a"}, {}, {"zone": "pek3"}, {"cluster_id": None}]
)
def test_a_malformed_deletion_is_refused(provider: Provider, field: dict[str, Any]) -> None:
    body = {"cluster_id": "ehpc-a", "zone": "jn1a", **({"node_ids": ["cln-a"]} if field else {}), **field}

    assert refusal(provider.cloud.delete_nodes, "jn1a", body, JobPlan(1)).ret_code == 1100


def test_running_jobs_are_ended_when_and_in_the_number_requested(provider: Provider) -> None:
    first = provider.add("ehpc-ended")
    provider.now += 20
    jobs = [provider.add(f"ehpc-{number}", plan=JobPlan(1_000.0)) for number in range(10)]

    assert provider.cloud.end_jobs(5.0, 6.0, 4) == 4

    soon = [job for job in jobs if job.ends_at < START + 100]
    assert len(soon) == 4
    assert all(5.0 <= job.ends_at - provider.now <= 6.0 for job in soon)
    assert first.ends_at == START + 10
    assert provider.cloud.end_jobs(5.0, 6.0, None) == 10


def test_jobs_are_found_by_id_and_cluster_in_their_own_zone(provider: Provider) -> None:
    here, there = provider.add("ehpc-a"), provider.add("ehpc-b", zone="pek3")
    provider.now += 20
    later = provider.add("ehpc-a")
    provider.now += 5

    def found(**asked: Any) -> list[str]:
        return [job.job_id for job in provider.cloud.operations("jn1a", None, None, **asked)]

    assert found(job_ids={here.job_id, there.job_id, "j-unknown"}) == [here.job_id]
    assert found(cluster_id="ehpc-a") == [here.job_id, later.job_id]
    assert found(cluster_id="ehpc-b") == []
    assert found(job_ids={here.job_id, later.job_id}, cluster_id="ehpc-b") == []
