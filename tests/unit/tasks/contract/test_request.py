"""What a producer may request, and the problems of anything else."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract.request import (
    MAX_DEADLINE_S,
    MAX_NODES_PER_REQUEST,
    InvalidRequest,
    ScaleOutRequest,
    content_fingerprint,
    parse_request,
)
from tasks.contract.validators import MAX_RESOURCE_CONF_CHARS

SMALLEST: dict[str, Any] = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}


def parsed(**fields: Any) -> ScaleOutRequest:
    return parse_request({**SMALLEST, **fields})


def problems(**fields: Any) -> list[str]:
    return problems_of({**SMALLEST, **fields})


def problems_of(fields: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(fields)
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- what is taken ----------------------------------------------------------------------------------------


def test_the_smallest_request_has_the_documented_defaults() -> None:
    request = parsed()

    assert request.model_dump() == {
        **SMALLEST,
        "node_role": "compute",
        "node_name": None,
        "private_ips": None,
        "resource_conf": None,
        "deadline_s": None,
        "on_shortage": "wait",
        "requested_by": None,
        "not_before": None,
        "dry_run": False,
    }
    assert not request.exclusive


def test_everything_that_may_be_said_is_kept() -> None:
    fields = {
        **SMALLEST,
        "node_role": "login",
        "node_name": "工作节点",
        "private_ips": ["10.0.0.1", "fd00::1"],
        "resource_conf": {"cpu": 4, "memory": "8G", "tags": ["a", None, {"b": 1.5}]},
        "deadline_s": 90.5,
        "on_shortage": "partial",
        "requested_by": "scheduler-7",
        "not_before": "2026-12-01T20:00:00.000Z",
        "dry_run": True,
    }

    assert parse_request(fields).model_dump(mode="json") == fields


@pytest.mark.parametrize(
    ("cluster_id", "role"), [("ehpc-a", "compute"), ("ehpc-8jqdq0mz", "compute"), ("hpc-a", "login")]
)
@pytest.mark.parametrize("given_role", [{}, {"node_role": None}], ids=repr)
def test_a_role_that_is_left_out_goes_by_the_kind_of_cluster(
    cluster_id: str, role: str, given_role: dict[str, Any]
) -> None:
    assert parsed(cluster_id=cluster_id, **given_role).node_role == role


@pytest.mark.parametrize("role", ["login", "compute"])
def test_a_dedicated_cluster_takes_nodes_of_either_role(role: str) -> None:
    assert parsed(cluster_id="ehpc-a", node_role=role).node_role == role


@pytest.mark.parametrize(
    "request_id", ["r", "A-Z_a.z:0-9", "x" * 128, "9bb6b0c8-7b9c-4a58-a0a5-4b1b5b6d0c1e"]
)
def test_a_request_id_has_up_to_128_safe_characters(request_id: str) -> None:
    assert parsed(request_id=request_id).request_id == request_id


@pytest.mark.parametrize("node_count", [1, 99, 100, 10_000])
def test_one_to_ten_thousand_nodes_may_be_requested(node_count: int) -> None:
    assert parsed(node_count=node_count).node_count == node_count


@pytest.mark.parametrize("on_shortage", ["wait", "partial", "fail"])
def test_each_of_the_three_ways_with_a_shortage_may_be_chosen(on_shortage: str) -> None:
    assert parsed(on_shortage=on_shortage).on_shortage == on_shortage


@pytest.mark.parametrize(("deadline_s", "kept"), [(1, 1.0), (0.5, 0.5), (MAX_DEADLINE_S, 604_800.0)])
def test_a_deadline_is_any_positive_number_of_seconds_up_to_a_week(deadline_s: float, kept: float) -> None:
    assert parsed(deadline_s=deadline_s).deadline_s == kept


@pytest.mark.parametrize("ips", [("10.0.0.1", "10.0.0.2"), ["10.0.0.1", "10.0.0.2"]], ids=repr)
def test_addresses_may_come_as_a_list_or_a_tuple(ips: object) -> None:
    assert parsed(private_ips=ips).private_ips == ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize("field", ["node_name", "private_ips", "resource_conf", "deadline_s", "requested_by"])
def test_null_is_the_same_as_leaving_an_optional_field_out(field: str) -> None:
    assert parsed(**{field: None}) == parsed()


def test_no_addresses_and_an_empty_conf_are_the_same_as_none() -> None:
    assert parsed(private_ips=[], resource_conf={}) == parsed()


@pytest.mark.parametrize(
    ("fields", "exclusive"),
    [
        ({}, False),
        ({"resource_conf": {"cpu": 4}, "requested_by": "me", "deadline_s": 5}, False),
        ({"private_ips": []}, False),
        ({"node_name": "worker"}, True),
        ({"private_ips": ["10.0.0.1", "10.0.0.2"]}, True),
    ],
    ids=repr,
)
def test_a_request_that_names_its_nodes_goes_alone(fields: dict[str, Any], exclusive: bool) -> None:
    assert parsed(**fields).exclusive is exclusive


def test_the_largest_conf_that_is_taken_has_4096_characters_of_json() -> None:
    fitting = {"a": "x" * (MAX_RESOURCE_CONF_CHARS - len('{"a": ""}'))}

    assert parsed(resource_conf=fitting).resource_conf == fitting


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["request_id", "cluster_id", "zone", "node_count"])
def test_a_field_that_must_be_there_is_named_when_it_is_missing(field: str) -> None:
    fields = {name: value for name, value in SMALLEST.items() if name != field}

    assert problems_of(fields) == [f"{field} is missing"]


@pytest.mark.parametrize("field", ["nodes", "Node_count", "priority", "version", "cluster-id", "", "x" * 64])
def test_an_unknown_field_is_refused_by_name(field: str) -> None:
    (problem,) = problems(**{field: 1})

    close = {"Node_count": " (did you mean node_count?)", "cluster-id": " (did you mean cluster_id?)"}
    assert problem == f"unknown field {field}{close.get(field, '')}"


WRONG_TYPES: dict[str, list[Any]] = {
    "request_id": [None, 7, True, ["r"], {"r": 1}, b"r"],
    "cluster_id": [None, 7, True, ["ehpc-a"], {}, b"ehpc-a"],
    "zone": [None, 7, False, ["jn1a"], {}, b"jn1a"],
    "node_count": [None, "2", "two", 2.0, 2.5, True, False, [2], {}, float("nan"), float("inf")],
    "node_role": [7, True, ["login"], {}, "LOGIN", "master", ""],
    "node_name": [7, True, ["n"], {}, b"n"],
    "private_ips": ["10.0.0.1", 7, True, {"10.0.0.1": 1}, {"10.0.0.1"}, [1, 2], [None, None]],
    "resource_conf": ["{}", 7, True, [], [["cpu", 4]], {1: 2}],
    "deadline_s": ["60", True, False, [60], {}, float("nan"), float("inf"), float("-inf")],
    "on_shortage": [None, 7, True, ["wait"], "WAIT", "never", ""],
    "requested_by": [7, True, ["me"], {}],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG_TYPES.items() for value in values],
    ids=repr,
)
def test_a_value_of_another_type_is_refused_and_never_converted(field: str, value: object) -> None:
    assert all(problem.startswith(field) for problem in problems(**{field: value}))


@pytest.mark.parametrize(
    "node_count",
    [0, -1, -(10**30), 10_001, 10**30, 10**5000],
    ids=["none", "negative", "very_negative", "one_too_many", "many", "endless"],
)
def test_a_count_that_is_not_from_1_to_10000_is_refused(node_count: int) -> None:
    (problem,) = problems(node_count=node_count)

    assert problem.startswith("node_count=")
    assert len(problem) < 200


@pytest.mark.parametrize(
    "cluster_id",
    [
        *("", "a", "ehpc", "ehpc-", "hpc-", "EHPC-a", "xehpc-a", "ehpc-a ", " ehpc-a", "ehpc-a\n", "ehpc_a"),
        *("ehpc-a/../b", "ehpc-a b", "ehpc-é", "ehpc-a\x00", "cln-a", "ehpc-" + "a" * 65, "hpc-a;hpc-b"),
    ],
    ids=repr,
)
def test_a_cluster_id_of_another_form_is_refused(cluster_id: str) -> None:
    (problem,) = problems(cluster_id=cluster_id)

    assert problem.startswith("cluster_id=")


@pytest.mark.parametrize(
    "request_id",
    ["", "a b", "a/b", "a\n", "a\x00", "é", "\N{FULLWIDTH DIGIT ONE}", "*", "x" * 129, "x" * 100_000],
    ids=lambda text: repr(text)[:20],
)
def test_a_request_id_that_cannot_be_part_of_a_key_is_refused(request_id: str) -> None:
    (problem,) = problems(request_id=request_id)

    assert problem.startswith("request_id=")


@pytest.mark.parametrize("zone", ["", "jn 1a", "jn1a\n", "jn\x001a", "济南", "a" * 33, "jn1a&x=1"], ids=repr)
def test_a_zone_of_another_form_is_refused(zone: str) -> None:
    (problem,) = problems(zone=zone)

    assert problem.startswith("zone=")


def test_compute_nodes_on_a_shared_cluster_are_refused_with_the_reason() -> None:
    assert problems(cluster_id="hpc-a", node_role="compute") == [
        "node_role='compute': compute nodes cannot be added to the shared cluster hpc-a, only login nodes"
    ]


@pytest.mark.parametrize("field", ["node_name", "requested_by"])
@pytest.mark.parametrize(
    "text",
    [
        *("a\x00b", "a\nb", "a\tb", "\x1b[31mred", "a\x7f", "a\x85", "a\u200bb", "a\u202eb", "\ufeffa"),
        *("a\ud800", "a\ue000", "a\x07"),
    ],
    ids=ascii,
)
def test_names_with_nul_or_control_characters_are_refused(field: str, text: str) -> None:
    (problem,) = problems(**{field: text})

    assert problem.startswith(f"{field}=")
    assert problem.isprintable()


@pytest.mark.parametrize("field", ["node_name", "requested_by"])
@pytest.mark.parametrize("text", ["", "x" * 129, "x" * 1_000_000], ids=lambda text: str(len(text)))
def test_names_that_are_empty_or_longer_than_128_characters_are_refused(field: str, text: str) -> None:
    (problem,) = problems(**{field: text})

    assert problem.startswith(f"{field}=")
    assert len(problem) < 200


@pytest.mark.parametrize(
    "ip",
    [
        *("", "10.0.0", "10.0.0.256", "10.0.0.1/24", "10.0.0.01", "10.0.0.1 ", "host", "10.0.0.1\x00"),
        *("fe80::1%eth0", "::g", "1", "0x0a000001", "\N{FULLWIDTH DIGIT ONE}0.0.0.1"),
    ],
    ids=repr,
)
def test_text_that_is_no_address_is_refused_and_shown(ip: str) -> None:
    (problem,) = problems(private_ips=["10.0.0.1", ip])

    assert problem.startswith("private_ips=")
    assert problem.endswith(f"not addresses: {ip!r}")


def test_of_many_wrong_addresses_a_few_are_shown() -> None:
    (problem,) = problems(node_count=9, private_ips=["x" * 1000 + str(n) for n in range(9)])

    assert problem.count("'x") == 6  # five addresses, and the value itself
    assert len(problem) < 600


@pytest.mark.parametrize("count", [1, 3])
def test_more_or_fewer_addresses_than_nodes_are_refused_with_both_numbers(count: int) -> None:
    (problem,) = problems(node_count=count, private_ips=["10.0.0.1", "10.0.0.2"])

    assert problem.endswith(f"2 addresses for {count} nodes: name one for each node, or none")


def test_an_address_that_is_named_twice_is_refused() -> None:
    (problem,) = problems(private_ips=["10.0.0.1", "10.0.0.1"])

    assert problem.endswith("names an address twice")


@pytest.mark.parametrize(
    "ips",
    [["::1", "0:0:0:0:0:0:0:1"], ["fd00::a", "FD00::A"], ["10.0.0.1", "::ffff:10.0.0.1"]],
    ids=repr,
)
def test_an_address_that_is_named_twice_in_two_spellings_is_refused(ips: list[str]) -> None:
    (problem,) = problems(private_ips=ips)

    assert problem.endswith("names an address twice")


def test_all_that_is_wrong_with_several_addresses_is_named_at_once() -> None:
    (problem,) = problems(node_count=4, private_ips=["10.0.0.1", "host", "10.0.0.1", "fe80::1%eth0"])

    assert problem.endswith("not addresses: 'host', 'fe80::1%eth0', and names an address twice")


@pytest.mark.parametrize(
    "fields",
    [{"node_name": "worker"}, {"private_ips": [f"10.0.{n // 250}.{n % 250}" for n in range(100)]}],
    ids=["node_name", "private_ips"],
)
def test_nodes_that_are_named_must_fit_one_operation(fields: dict[str, Any]) -> None:
    (problem,) = problems(node_count=100, **fields)

    assert problem.endswith("nodes that are named must be at most 99, not 100")
    assert len(problem) < 200


@pytest.mark.parametrize("deadline_s", [0, -1, -0.0, MAX_DEADLINE_S + 1, 10**400])
def test_a_deadline_that_is_not_between_now_and_a_week_is_refused(deadline_s: float) -> None:
    (problem,) = problems(deadline_s=deadline_s)

    assert problem.startswith("deadline_s=")
    assert len(problem) < 200


def test_a_conf_that_is_too_large_is_refused_with_its_size() -> None:
    (problem,) = problems(resource_conf={"a": "x" * MAX_RESOURCE_CONF_CHARS})

    assert problem.endswith("is 4105 characters of JSON, 4096 are allowed")
    assert len(problem) < 200


@pytest.mark.parametrize(
    "conf",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": object},
        {"a": {(1, 2): 3}},
    ],
    ids=lambda conf: repr(type(conf["a"])),
)
def test_a_conf_that_json_cannot_hold_is_refused(conf: dict[str, Any]) -> None:
    (problem,) = problems(resource_conf=conf)

    assert problem.endswith("must be an object of plain JSON values")


@pytest.mark.parametrize("conf", [{"a": "\x00"}, {"\x00": 1}, {"a": ["b", {"c": "d\x00e"}]}], ids=repr)
def test_a_conf_with_a_nul_character_anywhere_is_refused(conf: dict[str, Any]) -> None:
    (problem,) = problems(resource_conf=conf)

    assert problem.endswith("must have no NUL characters")


def test_a_conf_with_an_escaped_u0000_as_text_is_accepted() -> None:
    assert parsed(resource_conf={"a": "\\u0000"}).resource_conf == {"a": "\\u0000"}


def test_every_problem_is_named_at_once() -> None:
    found = problems_of(
        {
            "request_id": "a b",
            "cluster_id": "cluster",
            "node_count": "2",
            "node_role": "master",
            "node_name": "",
            "private_ips": ["x"],
            "resource_conf": [],
            "deadline_s": -1,
            "on_shortage": "panic",
            "requested_by": 7,
            "nodes": 3,
            "priority": "high",
        }
    )

    named = [problem.removeprefix("unknown field ") for problem in found]
    assert [problem.replace("=", " ").split()[0] for problem in named] == [
        *("request_id", "cluster_id", "zone", "node_count", "node_role", "node_name", "private_ips"),
        *("resource_conf", "deadline_s", "on_shortage", "requested_by", "nodes", "priority"),
    ]


def test_nothing_at_all_names_everything_that_must_be_there() -> None:
    assert problems_of({}) == [
        "request_id is missing",
        "cluster_id is missing",
        "zone is missing",
        "node_count is missing",
    ]


def test_a_problem_shows_the_start_of_the_value_that_caused_it() -> None:
    (problem,) = problems(zone="x" * 500)

    assert problem.startswith("zone='xxxx")
    assert "…: must match" in problem
    assert len(problem) < 200


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    (problem,) = problems(zone=Unshowable())

    assert problem == "zone=<Unshowable>: must be a valid string"


def test_a_field_whose_name_is_no_text_is_refused() -> None:
    fields: dict[Any, Any] = {**SMALLEST, 7: 2}

    assert problems_of(fields) == ["[7]=7: Keys must be strings"]


def test_a_cluster_id_that_cannot_even_be_looked_at_is_refused() -> None:
    assert problems(cluster_id=nested(5_000))


@pytest.mark.parametrize("cluster_id", [nested(5_000), 10**5000], ids=["deep", "long"])
def test_a_cluster_id_that_cannot_be_shown_is_named_with_other_problems(
    cluster_id: object,
) -> None:
    found = problems(cluster_id=cluster_id, zone=7)

    assert [problem.partition("=")[0] for problem in found] == ["cluster_id", "zone"]


@pytest.mark.parametrize(
    "fields",
    [{"private_ips": [1] * 5_000}, {f"field_{n}": 1 for n in range(5_000)}],
    ids=["addresses", "fields"],
)
def test_a_request_with_thousands_of_problems_does_not_give_thousands_of_sentences(
    fields: dict[str, Any],
) -> None:
    found = problems(**fields)

    assert len(found) == 51
    assert re.fullmatch(r"and \d+ more", found[-1])


def test_the_message_about_an_unknown_field_is_printable() -> None:
    (problem,) = problems(**{"a\nb\x1b[31m": 1})

    assert problem == "unknown field a?b?[31m"


def test_an_unknown_field_with_invalid_unicode_is_named_with_other_problems() -> None:
    assert problems(**{"a\ud800": 1}, zone="")[0].startswith("zone=")
    assert problems(**{"a\ud800": 1}, zone="")[1:] == ["unknown field a?"]


def test_of_an_unknown_field_with_a_long_name_the_start_is_shown() -> None:
    assert problems(**{"x" * 100_000: 1}) == [f"unknown field {'x' * 64}"]


def test_a_request_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parsed().node_count = 3  # type: ignore[misc]


# --- fingerprints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"node_role": "compute"},
        {"node_role": None},
        {"on_shortage": "wait"},
        {"private_ips": []},
        {"resource_conf": {}},
        {"deadline_s": None, "node_name": None, "requested_by": None},
    ],
    ids=repr,
)
def test_a_default_that_is_spelled_out_makes_no_other_request(fields: dict[str, Any]) -> None:
    assert parsed(**fields).fingerprint() == parsed().fingerprint()


def test_the_order_of_fields_makes_no_other_request() -> None:
    one = parsed(resource_conf={"cpu": 4, "memory": {"a": 1, "b": 2}}, deadline_s=60)
    other = parse_request(
        {
            "deadline_s": 60.0,
            "resource_conf": {"memory": {"b": 2, "a": 1}, "cpu": 4},
            **dict(reversed(SMALLEST.items())),
        }
    )

    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "r-2"},
        {"cluster_id": "ehpc-b"},
        {"zone": "jn1b"},
        {"node_count": 3},
        {"node_role": "login"},
        {"node_name": "worker"},
        {"private_ips": ["10.0.0.1", "10.0.0.2"]},
        {"resource_conf": {"cpu": 4}},
        {"deadline_s": 60},
        {"on_shortage": "fail"},
        {"requested_by": "me"},
    ],
    ids=repr,
)
def test_any_other_content_makes_another_request(fields: dict[str, Any]) -> None:
    assert parsed(**fields).fingerprint() != parsed().fingerprint()


def test_a_dry_run_has_the_fingerprint_of_the_real_request() -> None:
    assert parsed(dry_run=True).fingerprint() == parsed().fingerprint()


def test_a_fingerprint_is_a_short_word_for_any_key_or_log() -> None:
    fingerprint = parsed().fingerprint()

    assert len(fingerprint) == 64
    assert set(fingerprint) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "content", [object, {"a": {1, 2}}, {"a": b"b"}, "\ud800", float("nan"), {1: 2}], ids=ascii
)
def test_anything_has_a_fingerprint_even_what_json_cannot_hold(content: object) -> None:
    assert len(content_fingerprint(content)) == 64
    assert content_fingerprint(content) == content_fingerprint(content)


def test_what_is_nested_however_deeply_has_a_fingerprint() -> None:
    assert len(content_fingerprint({"zone": nested(5_000)})) == 64


@pytest.mark.parametrize("depth", [16, 200, 300, 800, 5_000])
def test_a_conf_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    (problem,) = problems(resource_conf={"a": nested(depth)})

    assert problem.endswith("is nested more than 16 deep")


def test_a_request_that_is_taken_can_be_written_and_read_again() -> None:
    request = parsed(resource_conf={"a": nested(14)})

    assert request.fingerprint()
    assert ScaleOutRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize("conf", [{"a": {"\ud800": 1}}, {"a": "\ud800"}, {"\ud800": 1}], ids=ascii)
def test_a_conf_with_half_a_character_is_refused(conf: dict[str, Any]) -> None:
    (problem,) = problems(resource_conf=conf)

    assert problem.endswith("contains an unpaired surrogate (invalid Unicode)")


# --- whatever else ----------------------------------------------------------------------------------------

TEXT = st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "request_id": st.from_regex(r"[A-Za-z0-9._:-]{1,8}", fullmatch=True),
    "cluster_id": st.sampled_from(["ehpc-a", "hpc-a", "ehpc-"]),
    "zone": st.sampled_from(["jn1a", "", "jn1a\n"]),
    "node_count": st.integers(-1, 120),
    "node_role": st.sampled_from(["login", "compute", "master"]),
    "node_name": TEXT,
    "private_ips": st.lists(st.ip_addresses().map(str), max_size=3),
    "resource_conf": st.dictionaries(TEXT, JSON, max_size=3),
    "deadline_s": st.integers(-1, 10**6) | st.floats(),
    "on_shortage": st.sampled_from(["wait", "partial", "fail", "panic"]),
    "requested_by": TEXT,
}
REQUEST_LIKE = st.fixed_dictionaries(
    {}, optional={**{name: likely | JSON for name, likely in LIKELY.items()}, "more": JSON}
)


@given(REQUEST_LIKE | st.dictionaries(TEXT, JSON, max_size=5))
def test_any_json_gives_a_request_or_an_invalid_request_and_nothing_else(fields: dict[str, Any]) -> None:
    try:
        request = parse_request(fields)
    except InvalidRequest as error:
        found = error.problems
    else:
        assert 1 <= request.node_count <= MAX_NODES_PER_REQUEST
        assert set(fields) <= set(ScaleOutRequest.model_fields)
        return
    assert found
    assert all(found)


PLAIN = st.text(max_size=8)
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: "\\u0000" not in json.dumps(value))


@given(
    st.fixed_dictionaries(
        {
            "cluster_id": st.sampled_from(["ehpc-a", "ehpc-b"]),
            "zone": st.just("jn1a"),
            "node_count": st.integers(1, 99),
            "request_id": LIKELY["request_id"],
        },
        optional={
            "node_role": st.sampled_from(["login", "compute"]),
            "resource_conf": st.dictionaries(st.sampled_from(["a", "b"]), PLAIN_JSON, max_size=2),
            "deadline_s": st.floats(0.1, MAX_DEADLINE_S),
            "on_shortage": st.sampled_from(["wait", "partial", "fail"]),
        },
    )
)
def test_a_request_that_is_written_and_read_again_is_the_same_request(fields: dict[str, Any]) -> None:
    request = parse_request(fields)

    again = ScaleOutRequest.model_validate_json(request.model_dump_json())
    over_the_wire = parse_request(json.loads(json.dumps(fields)))

    assert again == request
    assert again.fingerprint() == over_the_wire.fingerprint() == request.fingerprint()


class OfALaterVersion(ScaleOutRequest):
    """With an optional field that this version does not have."""

    image: str | None = None


def test_versions_that_differ_in_an_optional_field_agree_on_the_fingerprint() -> None:
    given = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}

    assert OfALaterVersion.model_validate(given).fingerprint() == parse_request(given).fingerprint()
    later = OfALaterVersion.model_validate({**given, "image": "img-1"})
    assert later.fingerprint() != parse_request(given).fingerprint()


def test_the_fingerprint_of_a_request_is_the_one_that_ledgers_have() -> None:
    given = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}

    assert parse_request(given).fingerprint() == (
        "1f5cd82c725261fb4efe619712b36e3192081eb7241cee3d4e7d0a4be815a4ed"
    )


@pytest.mark.parametrize("of_schedule", [False, True])
def test_only_a_schedule_may_use_the_ids_of_its_requests(of_schedule: bool) -> None:
    given = {"request_id": "schedule:a:1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 0}

    with pytest.raises(InvalidRequest) as refused:
        parse_request(given, of_schedule=of_schedule)

    about_the_id = [problem for problem in refused.value.problems if "schedules" in problem]
    assert len(refused.value.problems) == (1 if of_schedule else 2)
    assert len(about_the_id) == (0 if of_schedule else 1)
