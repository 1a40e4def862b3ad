"""Every return code of the API's page "Error codes", and the class that says what to do next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ehpc.errors import (
    AccountRefused,
    Busy,
    EhpcError,
    InDoubt,
    NotAccepted,
    NotSent,
    QuotaExhausted,
    Rejected,
    Shortage,
    UnclearQuota,
    reason,
)

REJECTED = (1100, 1101, 2100, 3300, 8000, 8001, 8002, 8003, 8004)
REJECTED_WITH_ALERT = (2200, 2400, 4000, 4001, 4002, 4003, 4004, 4005)
ACCOUNT_REFUSED = (1200, 1661, 1662, 2000)

CLASSES: dict[int, type[EhpcError]] = {
    **dict.fromkeys(REJECTED, Rejected),
    **dict.fromkeys(REJECTED_WITH_ALERT, Rejected),
    **dict.fromkeys(ACCOUNT_REFUSED, AccountRefused),
    1300: NotAccepted,
    1400: Rejected,
    2500: UnclearQuota,
    5000: InDoubt,
    5100: InDoubt,
    5200: Shortage,
    5300: Busy,
    5400: Busy,
}


@pytest.mark.parametrize(("ret_code", "kind"), sorted(CLASSES.items()))
def test_each_documented_code_without_a_message_has_its_class(ret_code: int, kind: type[EhpcError]) -> None:
    error = reason(ret_code, "", 200)

    assert type(error) is kind
    assert error.ret_code == ret_code
    assert error.http_status == 200
    assert str(error) == f"the provider answered {ret_code}: no message"


@pytest.mark.parametrize("ret_code", [5000, 5100])
@pytest.mark.parametrize(
    "message", ["", "rejected", "PermissionDenied, not carried out", "API quota, status"]
)
def test_an_internal_error_or_a_timeout_is_in_doubt_whatever_its_message(ret_code: int, message: str) -> None:
    assert type(reason(ret_code, message)) is InDoubt


@given(st.integers().filter(lambda code: code not in CLASSES and code != 0), st.text(max_size=50))
def test_any_code_that_is_not_documented_is_in_doubt(ret_code: int, message: str) -> None:
    assert type(reason(ret_code, message)) is InDoubt


@pytest.mark.parametrize("ret_code", REJECTED_WITH_ALERT)
def test_what_must_be_corrected_at_the_account_is_rejected_with_an_alert(ret_code: int) -> None:
    error = reason(ret_code, "balance too low")

    assert isinstance(error, Rejected)
    assert error.alert


@pytest.mark.parametrize("ret_code", [*REJECTED, 1400])
def test_what_the_request_itself_got_wrong_is_rejected_without_an_alert(ret_code: int) -> None:
    error = reason(ret_code, "no permission")

    assert isinstance(error, Rejected)
    assert not error.alert


@pytest.mark.parametrize(
    "message",
    [
        "PermissionDenied, cluster [ehpc-a] is in transition",
        "resource status [pending] does not allow this",
        "Cluster Status is wrong",
        "cluster is not running",
        "cluster is not active",
        "the cluster is busy",
        "集群忙",
        "ResourceNotReady, cluster is creating",
        "the cluster is not ready",
        "please try again later",
        "集群扩容进行中",
        "another operation is in progress",
        "the cluster is being updated",
        "集群状态不允许",
        "集群正在变更",
    ],
)
def test_denied_because_the_cluster_cannot_be_changed_now_means_wait(message: str) -> None:
    assert type(reason(1400, message)) is Busy


@pytest.mark.parametrize(
    "message",
    ["", "PermissionDenied", "you have no permission for cluster [ehpc-a]", "access denied", "没有权限"],
)
def test_denied_for_any_other_reason_is_final(message: str) -> None:
    assert type(reason(1400, message)) is Rejected


@pytest.mark.parametrize(
    "message",
    [
        "API quota exceeded",
        "too many calls",
        "request limit reached",
        "frequency limit",
        "rate limited",
        "over the hourly limit",
        "your daily quota is used up",
        "接口调用超限",
        "请求过于频繁",
        "访问频率过高",
        "次数已用完",
    ],
)
def test_over_the_quota_of_calls_waits_for_the_window(message: str) -> None:
    assert type(reason(2500, message)) is QuotaExhausted


@pytest.mark.parametrize(
    "message",
    [
        "resource quota exceeded",
        "too many instances",
        "node quota exceeded",
        "CPU quota exceeded",
        "memory quota exceeded",
        "disk quota exceeded",
        "volume quota exceeded",
        "资源配额不足",
        "节点超过限制",
        "主机配额不足",
        "内存配额不足",
    ],
)
def test_over_the_quota_of_resources_is_a_shortage(message: str) -> None:
    assert type(reason(2500, message)) is Shortage


@pytest.mark.parametrize(
    "message", ["", "QuotaExceeded", "quota", "API requests for this resource are over quota"]
)
def test_a_quota_message_that_does_not_say_which_is_unclear(message: str) -> None:
    assert type(reason(2500, message)) is UnclearQuota


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EhpcError, "api_error"),
        (NotSent, "not_sent"),
        (NotAccepted, "not_accepted"),
        (Busy, "busy"),
        (Rejected, "rejected"),
        (Shortage, "shortage"),
        (AccountRefused, "account_blocked"),
        (QuotaExhausted, "quota"),
        (InDoubt, "in_doubt"),
    ],
)
def test_each_class_has_a_stable_name_for_logs_and_outcomes(kind: type[EhpcError], name: str) -> None:
    error = kind("reason")

    assert error.kind == name
    assert isinstance(error, EhpcError)
    assert (error.ret_code, error.http_status) == (None, None)


def test_doubt_is_never_caught_as_a_refusal() -> None:
    refusals = (NotSent, NotAccepted, Rejected, Shortage, AccountRefused, QuotaExhausted)

    assert not issubclass(InDoubt, refusals)


def test_busy_is_a_way_of_not_being_accepted() -> None:
    assert issubclass(Busy, NotAccepted)


def test_the_quotas_error_keeps_how_long_the_provider_wants_us_to_wait() -> None:
    assert QuotaExhausted("reason", retry_after_s=30.0).retry_after_s == 30.0
    assert QuotaExhausted("reason").retry_after_s is None


def test_the_providers_words_are_kept_with_their_code() -> None:
    assert str(reason(2100, "ResourceNotFound, cluster [ehpc-a]")) == (
        "the provider answered 2100: ResourceNotFound, cluster [ehpc-a]"
    )


@given(st.integers().filter(bool), st.text(st.characters(), max_size=600))
def test_any_error_is_one_printable_line_of_bounded_length(ret_code: int, message: str) -> None:
    text = str(reason(ret_code, message))

    assert text.isprintable()
    assert len(text) <= 300


def test_a_message_that_is_too_long_shows_that_it_was_cut() -> None:
    assert str(EhpcError("x" * 300)) == "x" * 300
    assert str(EhpcError("x" * 301)) == "x" * 299 + "…"
