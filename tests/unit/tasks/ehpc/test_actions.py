"""The calls as they go out: methods, paths, parameters and bodies."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ehpc.actions import add_nodes, add_nodes_body, list_jobs, list_nodes


def body_of(**fields: Any) -> dict[str, Any]:
    given_fields = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_role": "compute", "node_count": 2, **fields}
    content = json.loads(add_nodes_body(**given_fields))
    assert isinstance(content, dict)
    return content


def test_the_body_of_the_vendors_own_example_comes_out_to_the_byte() -> None:
    body = add_nodes_body(cluster_id="ehpc-8jqdq0mz", zone="jn1a", node_role="login", node_count=1)

    assert body == b'{"cluster_id": "ehpc-8jqdq0mz", "node_role": "login", "node_count": "1", "zone": "jn1a"}'


def test_the_node_count_goes_as_a_string() -> None:
    assert body_of(node_count=99)["node_count"] == "99"


def test_what_a_request_leaves_out_is_left_out_of_the_body() -> None:
    assert set(body_of()) == {"cluster_id", "zone", "node_role", "node_count"}


def test_a_name_and_addresses_go_as_they_are() -> None:
    body = body_of(node_name="worker", private_ips=("10.0.0.1", "10.0.0.2"))

    assert body["node_name"] == "worker"
    assert body["private_ips"] == ["10.0.0.1", "10.0.0.2"]


def test_the_resource_conf_is_a_string_of_json_inside_the_json() -> None:
    body = body_of(resource_conf={"memory": 8, "cpu": 4})

    assert isinstance(body["resource_conf"], str)
    assert json.loads(body["resource_conf"]) == {"cpu": 4, "memory": 8}


def test_the_same_resource_conf_gives_the_same_bytes_in_any_order() -> None:
    assert body_of(resource_conf={"a": 1, "b": {"d": 1, "c": 2}}) == body_of(
        resource_conf={"b": {"c": 2, "d": 1}, "a": 1}
    )


@pytest.mark.parametrize("node_count", [-1, 0, 100, 10_000])
def test_a_count_that_one_operation_cannot_have_makes_no_body(node_count: int) -> None:
    with pytest.raises(ValueError, match=f"node_count={node_count}: one operation has 1 to 99 nodes"):
        body_of(node_count=node_count)


@given(
    node_count=st.integers(1, 99),
    node_name=st.none() | st.text(min_size=1, max_size=20),
    private_ips=st.none() | st.lists(st.ip_addresses().map(str), max_size=5),
    resource_conf=st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
)
def test_any_body_is_ascii_json_of_the_arguments(
    node_count: int,
    node_name: str | None,
    private_ips: list[str] | None,
    resource_conf: dict[str, Any] | None,
) -> None:
    body = add_nodes_body(
        cluster_id="ehpc-a",
        zone="jn1a",
        node_role="compute",
        node_count=node_count,
        node_name=node_name,
        private_ips=private_ips,
        resource_conf=resource_conf,
    )

    content = json.loads(body.decode("ascii"))
    assert int(content["node_count"]) == node_count
    assert content.get("node_name") == node_name
    assert content.get("private_ips") == private_ips
    assert json.loads(content.get("resource_conf", "null")) == resource_conf


def test_add_nodes_is_a_post_with_the_zone_in_the_query() -> None:
    request = add_nodes("jn1a", b"{}")

    assert (request.method, request.path, request.params) == ("POST", "/cluster/addNodes", {"zone": "jn1a"})
    assert request.body == b"{}"


def test_a_listing_of_operations_requests_full_pages_without_filters() -> None:
    request = list_jobs("jn1a", offset=200, newest_first=True)

    assert (request.method, request.path, request.body) == ("GET", "/operation", b"")
    assert request.params == {"zone": "jn1a", "limit": "100", "offset": "200", "reverse": "1"}


def test_a_listing_of_operations_never_filters_by_action() -> None:
    request = list_jobs(
        "jn1a",
        offset=0,
        newest_first=False,
        start_time=datetime(2022, 4, 6, 9, 20, tzinfo=timezone(timedelta(hours=8))),
        resource_ids="ehpc-a",
        job_ids="j-1",
    )

    assert request.params == {
        "zone": "jn1a",
        "limit": "100",
        "offset": "0",
        "reverse": "0",
        "start_time": "2022-04-06T01:20:00Z",
        "resource_ids": "ehpc-a",
        "job_ids": "j-1",
    }


def test_each_filter_of_the_operation_log_can_be_given_alone() -> None:
    by_time = list_jobs("z", offset=0, newest_first=True, start_time=datetime(2022, 4, 6, tzinfo=UTC))
    by_cluster = list_jobs("z", offset=0, newest_first=True, resource_ids="ehpc-a")
    by_job = list_jobs("z", offset=0, newest_first=True, job_ids="j-1")

    assert by_time.params["start_time"] == "2022-04-06T00:00:00Z"
    assert by_cluster.params["resource_ids"] == "ehpc-a"
    assert by_job.params["job_ids"] == "j-1"
    assert all(len(request.params) == 5 for request in (by_time, by_cluster, by_job))


def test_a_listing_of_nodes_requests_full_pages_of_one_cluster() -> None:
    request = list_nodes("jn1a", "ehpc-a", offset=100)

    assert (request.method, request.path, request.body) == ("GET", "/cluster/listNodes", b"")
    assert request.params == {"zone": "jn1a", "cluster_id": "ehpc-a", "limit": "100", "offset": "100"}


def test_the_body_is_not_shown_with_the_request() -> None:
    assert "ehpc-secret" not in repr(add_nodes("jn1a", b'{"cluster_id": "ehpc-secret"}'))
