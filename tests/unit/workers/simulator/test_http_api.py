"""The simulator's pages: listings page by page, the quota, the truth."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.support.simulator_calls import ZONE, Caller


async def make_jobs(caller: Caller, count: int) -> list[str]:
    """Make jobs, each on a cluster of its own, a second apart, all of them ended."""
    made = []
    for n in range(count):
        body = {"cluster_id": f"ehpc-{n}", "node_count": "1", "zone": ZONE}
        cloud = caller.running.cloud
        made.append(cloud.add_nodes(ZONE, body, cloud.plan_job()).job_id)
        caller.clock.now += 1
    caller.clock.now += 60
    return made


async def listed(caller: Caller, **params: object) -> list[str]:
    return [row["job_id"] for row in (await caller.get("operation", **params))["job_set"]]


async def test_a_reply_names_its_action_and_the_providers_time(caller: Caller) -> None:
    reply = await caller.send_add_nodes()

    content = reply.json()
    assert content.pop("job_id").startswith("j-")
    assert content == {"action": "HpcClusterAddClusterNodesResponse", "ret_code": 0}
    assert reply.headers["Content-Type"].startswith("application/json")
    assert parsedate_to_datetime(reply.headers["Date"]).timestamp() == int(caller.clock.now)


async def test_a_listing_has_ten_rows_by_default_and_a_hundred_at_most(
    caller: Caller,
) -> None:
    made = await make_jobs(caller, 120)

    assert await listed(caller) == made[:10]
    assert await listed(caller, limit=25) == made[:25]
    assert await listed(caller, limit=100) == made[:100]
    assert await listed(caller, limit=500) == made[:100]
    assert await listed(caller, limit=0) == []


async def test_pages_follow_each_other_to_the_total_count(caller: Caller) -> None:
    made = await make_jobs(caller, 120)

    assert await listed(caller, limit=100, offset=100) == made[100:]
    assert await listed(caller, offset=115) == made[115:]
    assert await listed(caller, offset=120) == []
    assert (await caller.get("operation", offset=500))["total_count"] == 120


async def test_reverse_shows_the_newest_first(caller: Caller) -> None:
    made = await make_jobs(caller, 15)

    assert await listed(caller, reverse=1) == made[::-1][:10]
    assert await listed(caller, reverse=1, offset=10) == made[:5][::-1]
    assert await listed(caller, reverse=0, limit=100) == made


@pytest.mark.parametrize("params", [{"limit": "many"}, {"offset": "x"}, {"start_time": "yesterday"}])
async def test_a_filter_that_cannot_be_read_is_malformed(caller: Caller, params: dict[str, str]) -> None:
    assert (await caller.get("operation", **params))["ret_code"] == 1100


async def test_a_listing_filters_by_cluster_time_action_and_status(
    caller: Caller,
) -> None:
    start = caller.clock.now
    made = await make_jobs(caller, 12)
    await caller.add_nodes("ehpc-new")
    caller.clock.now += 3
    (pending,) = await listed(caller, status="pending")

    assert await listed(caller, job_ids=made[3]) == [made[3]]
    assert await listed(caller, jobs=f"{made[5]},{made[3]}") == [made[3], made[5]]
    assert await listed(caller, resource_ids="ehpc-4") == [made[4]]
    assert await listed(caller, job_action="HpcClusterAddClusterNodes", limit=100) == [*made, pending]
    assert await listed(caller, job_action="HpcQueueAddEhpcQueueNodes") == []
    since = {"start_time": "2022-04-11T15:00:15Z", "end_time": "2022-04-11T15:00:16Z"}
    assert start == 1_649_689_213
    assert await listed(caller, **since) == made[2:4]
    assert (await caller.get("operation", status="successful", limit=1))["total_count"] == 12


@pytest.mark.parametrize(("shown", "before", "after"), [("never", 0, 0), ("ended", 0, 3), ("always", 3, 3)])
async def test_node_ids_are_in_the_log_never_after_the_end_or_always(
    caller: Caller, shown: str, before: int, after: int
) -> None:
    assert (await caller.control("options", {"node_ids_in_log": shown})).status == 200
    await caller.add_nodes(count=3)
    counts = []
    for seconds in (3, 7):
        caller.clock.now += seconds
        (row,) = (await caller.get("operation"))["job_set"]
        cluster_id, *node_ids = row["resource_ids"].split()
        assert cluster_id == "ehpc-a"
        counts.append(len(node_ids))

    assert counts == [before, after]
    assert (await caller.get("cluster/listNodes", cluster_id="ehpc-a"))["total_count"] == 3


async def test_a_row_has_times_and_errors_in_the_providers_form(caller: Caller) -> None:
    await caller.add_nodes()
    caller.clock.now += 10
    (row,) = (await caller.get("operation"))["job_set"]

    assert row["job_action"] == "HpcClusterAddClusterNodes"
    assert (row["create_time"], row["status_time"]) == ("2022-04-11T15:00:13Z", "2022-04-11T15:00:23Z")
    assert (row["status"], row["error_codes"]) == ("successful", "")


async def test_nodes_are_listed_page_by_page(caller: Caller) -> None:
    for count in (99, 21):
        await caller.add_nodes(count=count)
        caller.clock.now += 10

    pages = [
        await caller.get("cluster/listNodes", cluster_id="ehpc-a", limit=100, offset=offset)
        for offset in (0, 100)
    ]

    rows = [row for page in pages for row in page["hpc_app_nodes_set"]]
    assert [page["total_count"] for page in pages] == [120, 120]
    assert [len(page["hpc_app_nodes_set"]) for page in pages] == [100, 20]
    assert len({row["node_id"] for row in rows}) == 120
    assert {(row["role"], row["status"]) for row in rows} == {("compute", "active")}


async def test_nodes_of_no_cluster_cannot_be_listed(caller: Caller) -> None:
    assert (await caller.get("cluster/listNodes"))["ret_code"] == 1100


@pytest.mark.parametrize("action", ["cluster/addNodes", "cluster/deleteNodes"])
@pytest.mark.parametrize("body", [b"", b"nodes", b"[]", b'"text"', b"\xff\xfe"])
async def test_a_body_that_is_no_object_is_malformed(caller: Caller, action: str, body: bytes) -> None:
    content = (await caller.call("POST", action, body=body)).json()

    assert content["ret_code"] == 1100
    assert (await caller.truth())["jobs"] == []


async def test_nodes_are_deleted_by_a_job_that_the_log_shows(caller: Caller) -> None:
    await caller.add_nodes(count=3)
    caller.clock.now += 10
    rows = (await caller.get("cluster/listNodes", cluster_id="ehpc-a"))["hpc_app_nodes_set"]
    gone = [row["node_id"] for row in rows[:2]]

    body: dict[str, Any] = {"cluster_id": "ehpc-a", "zone": ZONE, "node_ids": gone}
    answer = await caller.post("cluster/deleteNodes", body)
    assert (await caller.add_nodes())["ret_code"] == 1400
    caller.clock.now += 10
    (row,) = (await caller.get("operation", job_ids=answer["job_id"]))["job_set"]

    assert answer["action"] == "HpcClusterDeleteClusterNodesResponse"
    assert (row["job_action"], row["status"]) == ("HpcClusterDeleteClusterNodes", "successful")
    assert row["resource_ids"].split() == ["ehpc-a", *gone]
    assert await caller.nodes() == 1
    last = {**body, "node_ids": [rows[2]["node_id"]]}
    assert (await caller.post("cluster/deleteNodes", last))["ret_code"] == 1400


async def test_calls_beyond_the_quota_are_refused_until_the_window_has_moved(caller: Caller) -> None:
    caller.running.api.quota.calls = 3
    codes = []
    for seconds in (0, 1, 1, 1, 3590, 3601):
        caller.clock.now += seconds
        content = await caller.get("operation")
        codes.append(content["ret_code"])

    assert codes == [0, 0, 0, 2500, 2500, 0]
    calls = (await caller.truth())["calls"]
    assert (calls["total"], calls["refused_by_quota"], calls["max_in_any_window"]) == (6, 2, 5)


async def test_a_refused_quota_says_that_calls_are_meant_and_makes_nothing(caller: Caller) -> None:
    caller.running.api.quota.calls = 0

    content = await caller.add_nodes()

    assert (content["ret_code"], "API call" in content["message"]) == (2500, True)
    truth = await caller.truth()
    assert truth["jobs"] == []
    assert truth["calls"]["refused_by_quota"] == 1
    assert truth["add_nodes_calls"][0]["answer"] == 2500


async def test_a_call_without_a_right_signature_counts_and_makes_nothing(caller: Caller) -> None:
    url = f"{caller.running.url}/api/cluster/addNodes?zone=jn1a"
    async with caller.session.post(url, data=b"{}") as reply:
        assert (await reply.json())["ret_code"] == 1100

    calls = (await caller.truth())["calls"]
    assert (calls["total"], calls["max_in_any_window"]) == (1, 1)


async def test_a_foreign_change_is_in_the_log_and_locks_the_cluster(caller: Caller) -> None:
    reply = await caller.control("foreign", {"cluster_id": "ehpc-a", "node_count": 2, "job_action": "Other"})
    job_id = reply.json()["job_id"]
    assert (await caller.add_nodes())["ret_code"] == 1400
    caller.clock.now += 3
    (row,) = (await caller.get("operation"))["job_set"]

    assert (row["job_id"], row["job_action"]) == (job_id, "Other")


async def test_stock_is_set_for_one_cluster_or_for_all(caller: Caller) -> None:
    await caller.control("stock", {"cluster_id": "ehpc-a", "nodes": 0})
    assert [(await caller.add_nodes(name))["ret_code"] for name in ("ehpc-a", "ehpc-b")] == [5200, 0]
    await caller.control("stock", {"nodes": 0})

    assert (await caller.add_nodes("ehpc-c"))["ret_code"] == 5200


async def test_an_option_that_is_fixed_at_the_start_cannot_be_changed(caller: Caller) -> None:
    reply = await caller.control("options", {"secret_access_key": "other"})

    assert (reply.status, b"secret_access_key" in reply.body) == (400, True)
    assert (await caller.add_nodes())["ret_code"] == 0


async def test_every_call_is_kept_with_time_kind_and_reply(caller: Caller) -> None:
    accepted = await caller.add_nodes()
    await caller.get("operation", job_ids=accepted["job_id"])
    await caller.get("operation")
    await caller.control("quota", {"calls": 1, "period_s": 60})
    await caller.add_nodes("ehpc-b")
    await caller.add_nodes("ehpc-c")

    async with caller.session.get(f"{caller.running.url}/_sim/calls") as reply:
        calls = await reply.json()

    assert [tuple(call[1:]) for call in calls] == [
        ("addNodes", 0),
        ("operation?job_ids", 0),
        ("operation", 0),
        ("addNodes", 0),
        ("addNodes", 2500),
    ]
    assert all(call[0] == caller.clock.now for call in calls)
