"""Records of other versions: earlier ones are read, fields of later ones kept, later schemas refused."""

import json
from typing import Any

import pytest

from tasks.ledger.migrations import NAMES_OF_SCHEMA_1, UnreadableRecord, load
from tasks.ledger.overview import RECORDS
from tasks.ledger.record import SCHEMA
from tasks.ledger.record_values import State
from tasks.ledger.records import Account, Cluster, Operation, Request, Zone
from tests.support.processes import ROOT
from tests.support.records import operation, request

# Written by a worker of the last commit before records had a schema number.
WRITTEN: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests/data/schema-1.json").read_text(encoding="utf-8")
)


def read(key: str) -> Any:
    found = WRITTEN[key]
    return load(RECORDS[key.split(":")[1]], key, found["version"], json.dumps(found["content"]))


@pytest.mark.parametrize("key", WRITTEN)
def test_a_record_of_the_version_before_is_read_whole(key: str) -> None:
    record = read(key)

    assert (record.version, record.schema_version) == (WRITTEN[key]["version"], SCHEMA)
    assert not record.model_extra, "every field has its new name"
    again = load(type(record), key, record.version, record.content())
    assert again == record


def test_the_written_records_cover_every_kind() -> None:
    assert {key.split(":")[1] for key in WRITTEN} == set(RECORDS)
    states = {read(key).state for key in WRITTEN if ":operation:" in key}
    assert states >= {State.RUNNING, State.IN_DOUBT, State.REFUSED, State.SUCCEEDED, State.FAILED}


def test_names_and_values_of_the_version_before_have_their_new_ones() -> None:
    succeeded = read("scaleout:request:succeeded")
    assert (succeeded.spec.node_count, succeeded.nodes_added, succeeded.status) == (3, 3, "succeeded")
    assert succeeded.spec.resource_conf == {"cpu": 4, "asked": 1}, "what a producer named stays"
    assert read("scaleout:request:rejected").last_reason.code == 2400
    assert read("scaleout:pause:ehpc-paused").reason == "racks"
    assert read("scaleout:account").reason.kind == "account_blocked"
    assert read("scaleout:schedule:nightly").last_handled > 0
    assert read("scaleout:cluster:ehpc-b").locked_by.startswith("op-")


def test_a_field_that_this_version_does_not_know_is_kept() -> None:
    content = json.loads(request().content()) | {"from_the_future": {"a": [1]}}

    record = load(Request, "key", 3, json.dumps(content))

    changed = record.model_copy(update={"cancelled": True})
    assert json.loads(changed.content())["from_the_future"] == {"a": [1]}


@pytest.mark.parametrize("schema", [SCHEMA + 1, 99, "2", None])
def test_a_record_of_a_later_schema_is_refused_by_name(schema: object) -> None:
    content = json.loads(operation().content()) | {"schema_version": schema}

    with pytest.raises(
        UnreadableRecord, match=r"scaleout:operation:op-1 cannot be read .*upgrade this process"
    ):
        load(Operation, "scaleout:operation:op-1", 1, json.dumps(content))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version":2,"state":"planned"}', "null"])
def test_a_damaged_record_is_refused_by_name(content: str) -> None:
    with pytest.raises(UnreadableRecord, match="scaleout:operation:op-1 cannot be read by this version"):
        load(Operation, "scaleout:operation:op-1", 1, content)


def test_no_old_name_is_a_field_of_this_version() -> None:
    """Otherwise a migration could rename a field that a record of schema 1 has already."""
    fields = {name for kind in (Request, Operation, Cluster, Zone, Account) for name in kind.model_fields}

    assert not fields & (NAMES_OF_SCHEMA_1.keys() - {"refusal"})
