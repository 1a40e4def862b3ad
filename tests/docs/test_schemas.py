"""The JSON Schemas of docs/: up to date, and saying what the code does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.generate import DIALECT, dry_run_schema, outcome_schema, request_schema
from tasks.contract.outcome import Outcome
from tasks.contract.request import InvalidRequest, ScaleOutRequest, parse_request

REQUEST = Draft202012Validator(request_schema())
OUTCOME = Draft202012Validator(outcome_schema())

SMALLEST: dict[str, Any] = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
LARGEST: dict[str, Any] = {
    **SMALLEST,
    "request_id": "nightly:2024-05-01",
    "node_role": "compute",
    "node_name": "worker",
    "private_ips": ["10.0.0.1", "10.0.0.2"],
    "resource_conf": {"cpu": 4, "memory": {"gib": 8}},
    "deadline_s": 90.5,
    "on_shortage": "partial",
    "requested_by": "scheduler",
    "dry_run": True,
}
ENDED: dict[str, Any] = {
    "version": 1,
    "request_id": "r-1",
    "cluster_id": "ehpc-a",
    "zone": "jn1a",
    "node_role": "compute",
    "status": "partially_succeeded",
    "nodes_requested": 3,
    "nodes_added": 2,
    "node_ids": ["cln-1", "cln-2"],
    "operations": [
        {
            "operation_id": "op-1",
            "job_id": "j-1",
            "node_count": 2,
            "status": "succeeded",
            "error_codes": "",
            "submitted_at": "2023-11-14T22:13:21.000Z",
            "finished_at": "2023-11-14T22:14:20.000Z",
        }
    ],
    "refusals": 1,
    "error": {"code": 5200, "kind": "shortage", "message": "the provider has too few nodes"},
    "requested_by": None,
    "accepted_at": "2023-11-14T22:13:20.000Z",
    "finished_at": "2023-11-14T22:14:20.500Z",
    "duration_s": 60.5,
}


def parses(fields: dict[str, Any]) -> bool:
    try:
        parse_request({"request_id": "task-1", **fields})
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize(
    "schema", [request_schema(), outcome_schema(), dry_run_schema()], ids=["request", "outcome", "dry run"]
)
def test_each_schema_is_one_of_the_dialect_that_it_names(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DIALECT == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_the_request_id_may_be_left_out_and_required_fields_are_named() -> None:
    assert set(request_schema()["required"]) == {"cluster_id", "zone", "node_count"}


def test_every_field_of_a_request_has_a_description() -> None:
    properties = request_schema()["properties"]

    assert set(properties) == set(ScaleOutRequest.model_fields)
    assert [name for name, content in properties.items() if not content.get("description")] == []


def test_the_default_role_is_not_given_as_one_value() -> None:
    assert "default" not in request_schema()["properties"]["node_role"]
    assert request_schema()["properties"]["on_shortage"]["default"] == "wait"


def test_every_field_of_an_outcome_is_part_of_its_schema() -> None:
    assert set(outcome_schema()["properties"]) == set(Outcome.model_fields) == set(ENDED)


def test_every_field_of_an_outcome_is_always_written() -> None:
    shapes = [
        shape
        for schema in (outcome_schema(), dry_run_schema())
        for shape in (schema, *schema["$defs"].values())
    ]
    for shape in shapes:
        assert set(shape["required"]) == set(shape["properties"])
        assert shape["additionalProperties"] is False


@pytest.mark.parametrize(
    "fields",
    [
        SMALLEST,
        LARGEST,
        {**SMALLEST, "cluster_id": "hpc-a", "node_role": "login"},
        {**SMALLEST, "node_count": 10_000},
        {**SMALLEST, "deadline_s": 1},
        {**SMALLEST, "node_name": None, "private_ips": None, "resource_conf": None, "deadline_s": None},
        {**SMALLEST, "private_ips": []},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_a_valid_request_passes_the_schema_and_the_code(fields: dict[str, Any]) -> None:
    assert list(REQUEST.iter_errors(fields)) == []
    assert parses(fields)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"cluster_id": None}, {"cluster_id": "ehpc-"}, {"cluster_id": "cln-1"}, {"cluster_id": 7}),
        *({"zone": ""}, {"zone": "a b"}, {"zone": None}),
        *({"node_count": 0}, {"node_count": 10_001}, {"node_count": "2"}, {"node_count": 2.5}),
        *({"node_count": True}, {"node_count": None}),
        *({"request_id": "a b"}, {"request_id": ""}, {"request_id": "x" * 129}),
        *({"node_role": "master"}, {"node_name": ""}, {"node_name": "x" * 129}, {"requested_by": 7}),
        *({"private_ips": "10.0.0.1"}, {"private_ips": [1]}, {"resource_conf": "{}"}, {"resource_conf": []}),
        *({"deadline_s": 0}, {"deadline_s": "60"}, {"deadline_s": 604_801}, {"on_shortage": "panic"}),
        {"nodes": 2},
    ],
    ids=repr,
)
def test_an_invalid_request_passes_neither_the_schema_nor_the_code(wrong: dict[str, Any]) -> None:
    fields = {**SMALLEST, **wrong}

    assert not REQUEST.is_valid(fields)
    assert not parses(fields)


@pytest.mark.parametrize("field", ["cluster_id", "zone", "node_count"])
def test_a_request_that_lacks_a_field_passes_neither(field: str) -> None:
    fields = {name: value for name, value in SMALLEST.items() if name != field}

    assert not REQUEST.is_valid(fields)
    assert not parses(fields)


TEXT = st.text(max_size=4) | st.sampled_from(["ehpc-a", "hpc-a", "jn1a", "login", "compute", "wait", "fail"])
ANY_JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.lists(TEXT)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: st.just(LARGEST[name]) | ANY_JSON for name in LARGEST if name != "private_ips"},
            "more": ANY_JSON,
        },
    )
)
def test_what_the_code_takes_the_schema_takes_as_well(fields: dict[str, Any]) -> None:
    # Null for a role is the one exception: to the code it means "left out".
    if parses(fields) and fields.get("node_role", "") is not None:
        assert [error.message for error in REQUEST.iter_errors(fields)] == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"operations": [], "node_ids": [], "error": None, "refusals": 0},
        dict.fromkeys(["cluster_id", "zone", "node_role", "nodes_requested", "accepted_at"]),
        {"error": {"code": None, "kind": "invalid", "message": ""}, "status": "rejected"},
        {"operations": [{**ENDED["operations"][0], "status": "held", "job_id": None, "finished_at": None}]},
    ],
    ids=repr,
)
def test_a_valid_outcome_passes_the_schema_and_the_code(fields: dict[str, Any]) -> None:
    content = {**ENDED, **fields}

    assert list(OUTCOME.iter_errors(content)) == []
    assert Outcome.model_validate(content).model_dump(mode="json") == content


@pytest.mark.parametrize(
    "wrong",
    [
        *({"version": 2}, {"status": "done"}, {"nodes_added": "2"}, {"node_ids": "cln-1"}, {"more": 1}),
        *({"finished_at": None}, {"duration_s": "1"}, {"error": {"kind": "shortage"}}, {"error": "shortage"}),
        {"operations": [{"operation_id": "op-1"}]},
        {"operations": [{**ENDED["operations"][0], "status": "planned"}]},
    ],
    ids=repr,
)
def test_an_invalid_outcome_does_not_pass_the_schema(wrong: dict[str, Any]) -> None:
    assert not OUTCOME.is_valid({**ENDED, **wrong})


def test_what_the_code_writes_passes_the_schema() -> None:
    written = Outcome.model_validate(ENDED).model_dump_json()

    assert OUTCOME.is_valid(json.loads(written))
