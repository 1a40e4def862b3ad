"""From the bytes of a reply to an answer, or to an error that says what to do next."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.ehpc.errors import (
    AccountRefused,
    Busy,
    EhpcError,
    InDoubt,
    NotAccepted,
    QuotaExhausted,
    Rejected,
    Shortage,
)
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobAccepted, JobRow
from tasks.ehpc.replies import MAX_BYTES, Reply, add_nodes_response, jobs_response, nodes_response

T = TypeVar("T")

DECODERS: list[Callable[[Reply], object]] = [add_nodes_response, jobs_response, nodes_response]
each_decoder = pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)

# The codes by which the provider says for sure that nothing was made.
DEFINITE = frozenset(
    {1100, 1101, 3300, 2100, 2200, 2400, 1200, 1661, 1662, 2000, 1300, 1400, 2500, 5200, 5300, 5400}
    | set(range(8000, 8005))
    | set(range(4000, 4006))
)


def reply(content: object = None, status: int = 200, **fields: Any) -> Reply:
    return Reply(status, json.dumps(content).encode(), **fields)


def raw(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body)


def error_of(decode: Callable[[Reply], object], answer: Reply) -> EhpcError:
    with pytest.raises(EhpcError) as caught:
        decode(answer)
    return caught.value


# --- addNodes ---------------------------------------------------------------------------------------------


def test_the_vendors_own_reply_to_add_nodes_gives_its_job() -> None:
    answer = reply({"action": "HpcClusterAddClusterNodesResponse", "job_id": "j-5h4i2duatxc", "ret_code": 0})

    assert add_nodes_response(answer) == JobAccepted("j-5h4i2duatxc")


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 500, 502, 504])
def test_a_job_id_with_code_0_is_accepted_whatever_the_status(status: int) -> None:
    assert add_nodes_response(reply({"ret_code": 0, "job_id": "j-1"}, status)) == JobAccepted("j-1")


def test_a_code_that_is_a_string_is_read_as_its_number() -> None:
    assert add_nodes_response(reply({"ret_code": "0", "job_id": "j-1"})) == JobAccepted("j-1")
    assert type(error_of(add_nodes_response, reply({"ret_code": "5200"}))) is Shortage


def test_unknown_fields_of_a_reply_are_no_trouble() -> None:
    content = {"ret_code": 0, "job_id": "j-1", "request_id": "x", "more": [1, {"a": None}]}

    assert add_nodes_response(reply(content)) == JobAccepted("j-1")


@pytest.mark.parametrize(
    "job_id",
    [None, "", " ", " j-1", "j-1 ", "j 1", "j-1\n", "\u3000", 7, 0, True, ["j-1"], {"id": "j-1"}, "j" * 129],
    ids=repr,
)
def test_code_0_with_an_unusable_job_id_is_in_doubt(job_id: object) -> None:
    error = error_of(add_nodes_response, reply({"ret_code": 0, "job_id": job_id}))

    assert type(error) is InDoubt
    assert error.ret_code == 0


@pytest.mark.parametrize("job_id", ["j-\ud800", "j-\x00", "j-\x1b[2J"], ids=ascii)
def test_code_0_with_an_unprintable_job_id_is_in_doubt(job_id: str) -> None:
    error = error_of(add_nodes_response, reply({"ret_code": 0, "job_id": job_id}))

    assert type(error) is InDoubt
    assert str(error) == "the provider answered 0 without a job_id that can be used"


def test_code_0_without_a_job_id_is_in_doubt() -> None:
    error = error_of(
        add_nodes_response, reply({"action": "HpcClusterAddClusterNodesResponse", "ret_code": 0})
    )

    assert type(error) is InDoubt
    assert str(error) == "the provider answered 0 without a job_id"


def test_the_longest_job_id_that_is_taken_has_128_characters() -> None:
    assert add_nodes_response(reply({"ret_code": 0, "job_id": "j" * 128})) == JobAccepted("j" * 128)


@pytest.mark.parametrize(
    ("ret_code", "message", "kind"),
    [
        (1200, "auth failure", AccountRefused),
        (1300, "signature expired", NotAccepted),
        (1400, "cluster is in transition", Busy),
        (1400, "no permission", Rejected),
        (2500, "API quota", QuotaExhausted),
        (2500, "node quota", Shortage),
        (5000, "internal error", InDoubt),
        (5100, "busy", InDoubt),
        (5200, "no capacity", Shortage),
        (424242, "what is this", InDoubt),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_a_refusal_is_classified_by_code_and_message_not_by_http_status(
    ret_code: int, message: str, kind: type[EhpcError], status: int
) -> None:
    error = error_of(add_nodes_response, reply({"ret_code": ret_code, "message": message}, status))

    assert type(error) is kind
    assert (error.ret_code, error.http_status) == (ret_code, status)
    assert message in str(error)


@pytest.mark.parametrize("message", [None, 7, ["a"], {"a": 1}, True], ids=repr)
def test_a_message_that_is_no_text_is_no_message(message: object) -> None:
    error = error_of(add_nodes_response, reply({"ret_code": 1400, "message": message}))

    assert type(error) is Rejected
    assert str(error) == "the provider answered 1400: no message"


@pytest.mark.parametrize("ret_code", [1100, 1300, 5200, 5300])
def test_a_refusal_that_nevertheless_names_a_job_is_in_doubt(ret_code: int) -> None:
    assert type(error_of(add_nodes_response, reply({"ret_code": ret_code, "job_id": "j-1"}))) is InDoubt


# --- replies that are none --------------------------------------------------------------------------------


@each_decoder
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"<!DOCTYPE html><html></html>", "a page of HTML or XML"),
        (b"\n <HTML><body>502 Bad Gateway", "a page of HTML or XML"),
        (b"<?xml version='1.0'?><a/>", "a page of HTML or XML"),
        (b"Bad Gateway", "not JSON"),
        (b'{"ret_code": 0, "job_id": "j-1"', "not JSON"),
        (b'{"ret_code": 0, "job_id": "j-1"}{', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"\x80abc", "not JSON"),
        (b"\x00\x00", "not JSON"),
        (b'{"ret_code": ' + b"1" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_body_that_is_not_json_is_in_doubt_and_described(
    decode: Callable[[Reply], object], body: bytes, said: str
) -> None:
    error = error_of(decode, raw(body))

    assert type(error) is InDoubt
    assert str(error) == f"the reply is {said} (HTTP 200)"


@each_decoder
@pytest.mark.parametrize("content", [None, True, 0, 1100, "0", "ret_code", [], [{"ret_code": 0}]], ids=repr)
def test_json_that_is_no_object_is_in_doubt(decode: Callable[[Reply], object], content: object) -> None:
    error = error_of(decode, reply(content))

    assert type(error) is InDoubt
    assert "no object" in str(error)


@each_decoder
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ret_code": None},
        {"ret_code": ""},
        {"ret_code": "-"},
        {"ret_code": "ok"},
        {"ret_code": " 0"},
        {"ret_code": "0.0"},
        {"ret_code": "\N{ARABIC-INDIC DIGIT ZERO}"},
        {"ret_code": 0.0},
        {"ret_code": 1100.0},
        {"ret_code": False},
        {"ret_code": True},
        {"ret_code": []},
        {"ret_code": {}},
        {"ret_code": 10**9},
        {"ret_code": -(10**100)},
        {"RET_CODE": 0},
    ],
    ids=repr,
)
def test_a_reply_without_a_usable_ret_code_is_in_doubt(
    decode: Callable[[Reply], object], fields: dict[str, object]
) -> None:
    error = error_of(decode, reply({"job_id": "j-1", "message": "rejected", **fields}))

    assert type(error) is InDoubt
    assert error.ret_code is None


@pytest.mark.parametrize("ret_code", ["--5", "--1100", "---0"])
def test_a_code_with_several_minus_signs_is_in_doubt(ret_code: str) -> None:
    assert type(error_of(add_nodes_response, reply({"ret_code": ret_code}))) is InDoubt


def test_a_code_of_many_digits_is_not_taken_for_its_prefix() -> None:
    assert type(error_of(add_nodes_response, reply({"ret_code": "000000001100999"}))) is InDoubt


@each_decoder
@pytest.mark.parametrize("flaw", ["cut off", f"larger than {MAX_BYTES} bytes", "compressed"])
@pytest.mark.parametrize("content", [{"ret_code": 0, "job_id": "j-1"}, {"ret_code": 1100}], ids=repr)
def test_a_body_that_did_not_arrive_whole_is_in_doubt(
    decode: Callable[[Reply], object], flaw: str, content: object
) -> None:
    error = error_of(decode, reply(content, flaw=flaw))

    assert type(error) is InDoubt
    assert str(error) == f"the reply is {flaw} (HTTP 200)"


@each_decoder
@pytest.mark.parametrize("ret_code", sorted(DEFINITE))
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_refusal_by_http_5xx_is_in_doubt(
    decode: Callable[[Reply], object], ret_code: int, status: int
) -> None:
    error = error_of(decode, reply({"ret_code": ret_code, "message": "api node status"}, status))

    assert type(error) is InDoubt
    assert (error.ret_code, error.http_status) == (ret_code, status)


@each_decoder
@pytest.mark.parametrize("status", [100, 199, 300, 302, 400, 404, 500, 503])
@pytest.mark.parametrize("job_id", [None, "", 0, []], ids=repr)
def test_code_0_without_a_job_by_an_http_error_is_in_doubt(
    decode: Callable[[Reply], object], status: int, job_id: object
) -> None:
    content = {"ret_code": 0, "job_id": job_id, "total_count": 0, "job_set": [], "hpc_app_nodes_set": []}

    error = error_of(decode, reply(content, status))

    assert type(error) is InDoubt
    assert str(error) == f"HTTP {status} with ret_code 0"


# --- too many calls ---------------------------------------------------------------------------------------


@each_decoder
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"ret_code": 0, "job_id": "j-1"}', b'{"ret_code": 5000}', b"\xff"], ids=repr
)
@pytest.mark.parametrize("flaw", [None, "cut off"])
def test_http_429_is_the_quota_whatever_the_body(
    decode: Callable[[Reply], object], body: bytes, flaw: str | None
) -> None:
    error = error_of(decode, Reply(429, body, flaw))

    assert type(error) is QuotaExhausted
    assert error.http_status == 429


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("-1", None),
        ("1.5", None),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("999999", 86_400.0),
        ("9" * 5000, 86_400.0),
        ("Wed, 06 Apr 2022 01:26:33 GMT", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_wait_of_http_429_is_read_in_seconds_and_bounded(
    header: str | None, seconds: float | None
) -> None:
    error = error_of(add_nodes_response, Reply(429, b"", retry_after=header))

    assert isinstance(error, QuotaExhausted)
    assert error.retry_after_s == seconds


# --- listings ---------------------------------------------------------------------------------------------

ROW: dict[str, object] = {
    "job_id": "j-8ajjp28fps8",
    "job_action": "HpcQueueRemoveEhpcQueueNodes",
    "create_time": "2022-04-06T01:26:33Z",
    "status": "successful",
    "status_time": "2022-04-06T01:26:40Z",
    "error_codes": "",
    "resource_ids": "ehpc-czkekzfz ehpcq-rg0vaycm cln-w1xufnk9",
    "owner": "usr-GxkSGFDs",
    "submitter": "nscca-hpc1",
    "action_describe": "…",
    "task_count": None,
}


def operations(*rows: object, total_count: object = None) -> Reply:
    return reply(
        {
            "action": "HpcOperationListOperationResponse",
            "ret_code": 0,
            "total_count": len(rows) if total_count is None else total_count,
            "job_set": rows,
        }
    )


def row_of(**fields: object) -> JobRow:
    return jobs_response(operations({**ROW, **fields})).rows[0]


def test_the_vendors_own_row_of_the_operation_log_is_read() -> None:
    page = jobs_response(operations(ROW))

    row = page.rows[0]
    assert page.total == 1
    assert row.job_id == "j-8ajjp28fps8"
    assert row.job_action == "HpcQueueRemoveEhpcQueueNodes"
    assert row.create_time == datetime(2022, 4, 6, 1, 26, 33, tzinfo=UTC)
    assert row.status_time == datetime(2022, 4, 6, 1, 26, 40, tzinfo=UTC)
    assert row.status is JobStatus.SUCCESSFUL
    assert row.resource_ids == ("ehpc-czkekzfz", "ehpcq-rg0vaycm", "cln-w1xufnk9")
    assert row.node_ids == ("cln-w1xufnk9",)


def test_a_page_without_rows_is_a_page() -> None:
    assert jobs_response(operations(total_count=0)).rows == ()
    assert jobs_response(operations(total_count=250)).total == 250


@pytest.mark.parametrize(
    ("text", "status", "known"),
    [
        ("pending", JobStatus.PENDING, True),
        ("working", JobStatus.PENDING, True),
        ("successful", JobStatus.SUCCESSFUL, True),
        ("failed", JobStatus.FAILED, True),
        ("", JobStatus.PENDING, False),
        ("Successful", JobStatus.SUCCESSFUL, True),
        ("SUCCESS", JobStatus.SUCCESSFUL, True),
        ("done", JobStatus.SUCCESSFUL, True),
        ("Cancelled", JobStatus.FAILED, True),
        ("timed out", JobStatus.FAILED, True),
        ("In Progress", JobStatus.PENDING, True),
        ("rolled-back", JobStatus.PENDING, False),
    ],
)
def test_a_status_that_is_no_known_end_counts_as_still_going(
    text: str, status: JobStatus, known: bool
) -> None:
    row = row_of(status=text)

    assert row.status is status
    assert row.status_is_known is known


def test_a_row_needs_nothing_but_its_job_and_its_status() -> None:
    row = jobs_response(operations({"job_id": "j-1", "status": "pending"})).rows[0]

    assert (row.job_action, row.error_codes, row.resource_ids, row.node_ids) == ("", "", (), ())
    assert row.create_time is None
    assert row.status_time is None


def test_fields_that_are_null_or_blank_are_empty() -> None:
    row = row_of(job_action=None, error_codes=None, resource_ids=None, create_time=None, status_time="")

    assert (row.job_action, row.error_codes, row.resource_ids) == ("", "", ())
    assert row.create_time is None
    assert row.status_time is None


def test_resource_ids_may_come_as_a_list_and_each_node_counts_once() -> None:
    row = row_of(resource_ids=["ehpc-a", "cln-2", "cln-1", "cln-2"])

    assert row.node_ids == ("cln-2", "cln-1")


def test_a_time_without_a_zone_is_utc_and_another_zone_is_kept() -> None:
    row = row_of(create_time="2022-04-06T01:26:33", status_time="2022-04-06T09:26:40+08:00")

    assert row.create_time == datetime(2022, 4, 6, 1, 26, 33, tzinfo=UTC)
    assert row.status_time == datetime(2022, 4, 6, 1, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "odd",
    [
        *(None, 7, "j-1", [], ["j-1"], [[]], {}),
        *({**ROW, "job_id": name} for name in (None, "", True, "j 1", "j-1\n", "j" * 129)),
        *({**ROW, "job_id": name} for name in ("j-\x1b[2J", "j-\ud800")),
        {**ROW, "job_id": ["j-1", "j-2"]},
    ],
    ids=ascii,
)
def test_a_row_without_a_usable_job_id_is_counted_and_hides_no_other(odd: object) -> None:
    page = jobs_response(operations({**ROW, "job_id": "j-a"}, odd, {**ROW, "job_id": "j-b"}))

    assert [row.job_id for row in page.rows] == ["j-a", "j-b"]
    assert (page.unreadable, page.row_count, page.total) == (1, 3, 3)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("job_id", 7, "7"),
        ("status", None, ""),
        ("status", 1, "1"),
        ("status", {}, ""),
        ("job_action", 7, "7"),
        ("job_action", [], ""),
        ("create_time", "yesterday", None),
        ("create_time", [], None),
        ("create_time", True, None),
        ("status_time", "2022-13-06T01:26:33Z", None),
        ("status_time", 1e300, None),
        ("error_codes", {}, ""),
        ("error_codes", ["5200", 5201], "5200 5201"),
        ("error_codes", 5200, "5200"),
        ("resource_ids", 7, ("7",)),
        ("resource_ids", {"ehpc-a": 1}, ()),
        ("resource_ids", ["ehpc-a", None], ("ehpc-a",)),
        ("resource_ids", "ehpc-a,cln-1, cln-2", ("ehpc-a", "cln-1", "cln-2")),
        ("resource_ids", "ehpc-a cln-\x01", ("ehpc-a",)),
        ("resource_ids", "ehpc-a cln-\ud800", ("ehpc-a",)),
    ],
    ids=ascii,
)
def test_a_field_is_read_for_what_it_is_or_is_empty(field: str, value: object, read: object) -> None:
    row = row_of(**{field: value})

    assert getattr(row, "status_text" if field == "status" else field) == read


def test_a_row_of_which_only_the_job_is_readable_is_still_going() -> None:
    row = row_of(**{name: {"a": []} for name in ROW if name != "job_id"}, job_id="j-1")

    assert (row.job_id, row.status, row.status_is_known) == ("j-1", JobStatus.PENDING, False)


def test_text_for_display_leaves_a_row_readable_and_is_cleaned() -> None:
    row = row_of(job_action="a\x1b[2J", error_codes="\ud800" + "x" * 1000, status="wor\nking")

    assert row.job_action == "a [2J"
    assert row.error_codes.startswith(" xx")
    assert len(row.error_codes) == 300
    assert (row.status_text, row.status_is_known) == ("wor king", False)


@pytest.mark.parametrize(
    ("total_count", "total"),
    [("1", 1), (1, 1), (-1, None), ("many", None), (1.5, None), ({}, None)],
    ids=repr,
)
def test_a_total_that_is_no_number_is_unknown(total_count: object, total: int | None) -> None:
    assert jobs_response(operations(ROW, total_count=total_count)).total == total


@pytest.mark.parametrize("node_id", ["cln-\x00", "cln-\ud800", "cln 1", "", None], ids=ascii)
def test_a_node_without_a_usable_id_is_counted(node_id: object) -> None:
    rows = [{"node_id": node_id}, {"node_id": "cln-1", "role": " Compute", "status": "Deleted"}]

    page = nodes_response(reply({"ret_code": 0, "total_count": 2, "hpc_app_nodes_set": rows}))

    assert page.unreadable == 1
    assert [(row.node_id, row.role, row.status) for row in page.rows] == [("cln-1", "compute", "deleted")]


@pytest.mark.parametrize("rows", [{}, "j-1", 7, True], ids=repr)
def test_a_listing_whose_rows_are_no_list_is_in_doubt(rows: object) -> None:
    error = error_of(jobs_response, reply({"ret_code": 0, "total_count": 1, "job_set": rows}))

    assert type(error) is InDoubt
    assert "job_set" in str(error)


def test_rows_that_are_null_or_absent_are_none_if_there_is_a_count() -> None:
    assert jobs_response(reply({"ret_code": 0, "total_count": 0, "job_set": None})).rows == ()
    assert jobs_response(reply({"ret_code": 0, "total_count": 3})).total == 3
    assert type(error_of(jobs_response, reply({"ret_code": 0}))) is InDoubt
    assert type(error_of(nodes_response, reply({"ret_code": 0}))) is InDoubt


def test_a_listing_is_never_cited_in_its_error() -> None:
    error = error_of(jobs_response, reply({"ret_code": 0, "job_set": "hunter2"}))

    assert "hunter2" not in str(error)


def test_a_page_of_nodes_is_read() -> None:
    page = nodes_response(
        reply(
            {
                "ret_code": 0,
                "total_count": 2,
                "hpc_app_nodes_set": [
                    {
                        "node_id": "cln-1",
                        "role": "compute",
                        "status": "active",
                        "create_time": "2022-04-06T01:26:33Z",
                        "private_ip": "10.0.0.1",
                    },
                    {"node_id": "cln-2", "role": None, "status": None},
                ],
            }
        )
    )

    first, second = page.rows
    assert (first.node_id, first.role, first.status) == ("cln-1", "compute", "active")
    assert first.create_time == datetime(2022, 4, 6, 1, 26, 33, tzinfo=UTC)
    assert (second.node_id, second.role, second.status, second.create_time) == ("cln-2", "", "", None)


def test_a_large_listing_is_read() -> None:
    page = jobs_response(
        operations(*({**ROW, "job_id": f"j-{n}", "resource_ids": "cln-x " * 99} for n in range(100)))
    )

    assert len(page.rows) == 100
    assert page.rows[99].node_ids == ("cln-x",)


def test_a_reply_does_not_show_its_body() -> None:
    assert "hunter2" not in repr(raw(b"hunter2"))


# --- whatever else ----------------------------------------------------------------------------------------

# Halves of surrogate pairs can be written in JSON, so they are part of what may come.
TEXT = st.text(st.characters(), max_size=12)
ODD = st.sampled_from([-(10**30), 10**30, 1e308, -0.0, float("nan"), float("inf"), 253402300800, "", "0"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
RET_CODE = st.sampled_from([0, "0", 5000, "5100", *sorted(DEFINITE)]) | st.integers().map(str) | JSON
ROW_FIELDS = (
    *("job_id", "status", "job_action", "create_time", "status_time"),
    *("error_codes", "resource_ids", "node_id", "role"),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(ROW_FIELDS, JSON | TEXT),
    ),
    max_size=3,
)
REPLY_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "ret_code": RET_CODE,
        "message": TEXT | JSON,
        "job_id": TEXT | JSON,
        "total_count": st.integers(0, 5) | JSON,
        "job_set": ROWS | JSON,
        "hpc_app_nodes_set": ROWS | JSON,
    },
)
STATUS = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 502, 503]) | st.integers(100, 599)
FLAW = st.sampled_from([None, None, None, "cut off"])


def what_comes_of(decode: Callable[[Reply], T], answer: Reply) -> T | EhpcError:
    try:
        return decode(answer)
    except EhpcError as error:
        return error


@given(st.sampled_from(DECODERS), STATUS, st.binary(max_size=200), FLAW, st.none() | st.text(max_size=8))
def test_any_bytes_give_an_answer_or_an_ehpc_error_and_nothing_else(
    decode: Callable[[Reply], object], status: int, body: bytes, flaw: str | None, retry_after: str | None
) -> None:
    what = what_comes_of(decode, Reply(status, body, flaw, retry_after))

    assert not isinstance(what, EhpcError) or str(what).isprintable()


@given(st.sampled_from(DECODERS), STATUS, REPLY_LIKE | JSON, FLAW)
@example(jobs_response, 200, {"ret_code": 0, "total_count": 1, "job_set": [{"\ud800": 1}]}, None)
def test_any_json_gives_an_answer_or_an_ehpc_error_and_nothing_else(
    decode: Callable[[Reply], object], status: int, content: object, flaw: str | None
) -> None:
    what = what_comes_of(decode, reply(content, status, flaw=flaw))

    assert not isinstance(what, EhpcError) or str(what).isprintable()


@given(STATUS, REPLY_LIKE | JSON, FLAW)
def test_only_a_whole_reply_with_a_documented_code_or_429_refuses(
    status: int, content: object, flaw: str | None
) -> None:
    what = what_comes_of(add_nodes_response, reply(content, status, flaw=flaw))

    if status == 429:
        assert type(what) is QuotaExhausted
    elif not isinstance(what, InDoubt):
        assert flaw is None
        assert isinstance(content, dict)
        code = int(content["ret_code"])
        if isinstance(what, JobAccepted):
            assert code == 0
            assert what.job_id == content["job_id"]
        else:
            assert status < 500
            assert code == what.ret_code
            assert code in DEFINITE


@given(st.integers(0, 40), st.sampled_from([200, 400, 500]))
def test_a_reply_that_is_cut_anywhere_is_never_a_definite_refusal(cut: int, status: int) -> None:
    body = b'{"ret_code": 5200, "message": "shortage"}'[:cut]

    assert type(error_of(add_nodes_response, raw(body, status))) is InDoubt
