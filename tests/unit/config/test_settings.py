"""Every setting: its name, its default, and the one line that says problems of it."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from config.secret_files import PREFIX, secret_names
from config.settings import (
    GatewaySettings,
    LedgerSettings,
    Settings,
    SettingsError,
    load,
    unknown_variables,
)

KEYS = {"ACCESS_KEY_ID": "QYACCESSKEYIDEXAMPLE", "SECRET_ACCESS_KEY": "hunter2hunter2"}

# What the documentation promises: the default of each setting that has one.
DEFAULTS: dict[str, Any] = {
    "REDIS_URL": "redis://localhost:6379/0",
    "BROKER_URL": None,
    "RESULT_BACKEND": None,
    "KEY_PREFIX": "scaleout",
    "API_URL": "https://hpc.api.qingcloud.com/api",
    "QUOTA_CALLS": 2000,
    "QUOTA_PERIOD_S": 3600.0,
    "POLL_INTERVAL_S": 5.0,
    "TICK_S": 1.0,
    "COALESCE_WINDOW_S": 1.0,
    "HTTP_TIMEOUT_S": 30.0,
    "SIGNATURE_TTL_S": 60.0,
    "LOG_LAG_S": 10.0,
    "STATE_DIR": None,
    "WAIT_REPLICAS": 0,
    "METRICS_PORT": None,
    "REDIS_CA_FILE": None,
    "REDIS_CERT_FILE": None,
    "REDIS_KEY_FILE": None,
    "API_ALLOW_HTTP": False,
    "API_CA_FILE": None,
    "API_PROXY": None,
    "METRICS_HOST": "127.0.0.1",
    "SUBMIT_LEASE_S": 45.0,
    "SUBMISSIONS_AT_ONCE": 64,
    "RETRY_BACKOFF_S": 5.0,
    "REQUEST_DEADLINE_S": 7200.0,
    "OUTCOME_TTL_S": 7 * 86400,
    "STREAM_MAXLEN": 100_000,
    "POLICY_FILE": None,
    "TRACES": False,
    "SIGNED_PATH_SLASH": True,
    "SIGNATURE_ENCODED_TWICE": True,
    "ADD_NODES_JOB_ACTION": "HpcClusterAddClusterNodes",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "INFO",
}
# Another value of each, as the text of the environment and as what it means.
# Settings that are none alone.
TOGETHER = {"REDIS_KEY_FILE": {"REDIS_CERT_FILE": "/etc/hostname"}}
OTHERS: dict[str, tuple[str, Any]] = {
    "REDIS_URL": ("rediss://user:pw@redis.example:6380/3", "rediss://user:pw@redis.example:6380/3"),
    "BROKER_URL": ("redis://broker/1", "redis://broker/1"),
    "RESULT_BACKEND": ("redis://results/2", "redis://results/2"),
    "KEY_PREFIX": ("team-a.scaleout_2", "team-a.scaleout_2"),
    "API_URL": ("https://10.0.0.1:8080/api/", "https://10.0.0.1:8080/api"),
    "ACCESS_KEY_ID": ("another", "another"),
    "SECRET_ACCESS_KEY": ("another", "another"),
    "QUOTA_CALLS": ("4", 4),
    "QUOTA_PERIOD_S": ("60", 60.0),
    "POLL_INTERVAL_S": ("0.5", 0.5),
    "TICK_S": ("0.05", 0.05),
    "COALESCE_WINDOW_S": ("0", 0.0),
    "HTTP_TIMEOUT_S": ("0.1", 0.1),
    "SIGNATURE_TTL_S": ("30", 30.0),
    "LOG_LAG_S": ("0", 0.0),
    "SUBMIT_LEASE_S": ("30.5", 30.5),
    "SUBMISSIONS_AT_ONCE": ("8", 8),
    "RETRY_BACKOFF_S": ("300", 300.0),
    "REQUEST_DEADLINE_S": ("604800", 604_800.0),
    "OUTCOME_TTL_S": ("60", 60),
    "STREAM_MAXLEN": ("100", 100),
    "POLICY_FILE": ("/etc/scaleout/policy.toml", Path("/etc/scaleout/policy.toml")),
    "TRACES": ("true", True),
    "STATE_DIR": ("/var/lib/scaleout", Path("/var/lib/scaleout")),
    "WAIT_REPLICAS": ("1", 1),
    "METRICS_PORT": ("9100", 9100),
    "REDIS_CA_FILE": ("/etc/hostname", Path("/etc/hostname")),
    "REDIS_CERT_FILE": ("/etc/hostname", Path("/etc/hostname")),
    "REDIS_KEY_FILE": ("/etc/hostname", Path("/etc/hostname")),
    "API_ALLOW_HTTP": ("true", True),
    "API_CA_FILE": ("/etc/hostname", Path("/etc/hostname")),
    "API_PROXY": ("http://proxy:3128", "http://proxy:3128"),
    "METRICS_HOST": ("0.0.0.0", "0.0.0.0"),
    "SIGNED_PATH_SLASH": ("false", False),
    "SIGNATURE_ENCODED_TWICE": ("0", False),
    "ADD_NODES_JOB_ACTION": ("HpcAddNodes", "HpcAddNodes"),
    "LOG_FORMAT": ("console", "console"),
    "LOG_LEVEL": ("DEBUG", "DEBUG"),
}
SECRETS = ["REDIS_URL", "BROKER_URL", "RESULT_BACKEND", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"]

Set = Callable[..., None]


@pytest.fixture(autouse=True)
def _nothing_of_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets variables of the environment; names without the prefix."""

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    return put


@pytest.fixture
def keys(put: Set) -> None:
    """The two settings that have no default."""
    put(**KEYS)


def shown(settings: LedgerSettings, name: str) -> Any:
    """A setting's value; a secret's text."""
    value = getattr(settings, name.lower())
    return value.get_secret_value() if name in SECRETS and value is not None else value


def problem(kind: type[LedgerSettings] = Settings) -> str:
    """The line that a process would stop with."""
    with pytest.raises(SettingsError) as caught:
        load(kind)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    return text


# --- names and defaults -----------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_documentation_and_no_others() -> None:
    assert {name.upper() for name in Settings.model_fields} == {*DEFAULTS, *KEYS}
    assert set(OTHERS) == {*DEFAULTS, *KEYS}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
@pytest.mark.usefixtures("keys")
def test_each_setting_has_its_documented_default(name: str, value: object) -> None:
    assert shown(load(Settings), name) == value


@pytest.mark.parametrize(("name", "text", "value"), [(name, *other) for name, other in OTHERS.items()])
@pytest.mark.usefixtures("keys")
def test_each_setting_is_read_from_the_environment_by_its_prefixed_name(
    put: Set, name: str, text: str, value: object
) -> None:
    put(**{**TOGETHER.get(name, {}), name: text})

    assert shown(load(Settings), name) == value


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.usefixtures("keys")
def test_a_name_without_the_prefix_is_not_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, OTHERS[name][0])

    assert shown(load(Settings), name) == DEFAULTS[name]


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.usefixtures("keys")
def test_an_empty_setting_is_one_that_is_not_set(put: Set, name: str) -> None:
    put(**{name: ""})

    assert shown(load(Settings), name) == DEFAULTS[name]


@pytest.mark.usefixtures("keys")
def test_a_value_that_is_handed_in_goes_before_the_environment(put: Set) -> None:
    put(TICK_S="5", KEY_PREFIX="from-the-environment")

    settings = load(Settings, tick_s=2.0)

    assert settings.tick_s == 2.0
    assert settings.key_prefix == "from-the-environment"


def test_a_producer_needs_no_keys_and_ignores_worker_settings(put: Set) -> None:
    put(QUOTA_CALLS="wrong", REDIS_URL="redis://ledger/0")

    settings = load(LedgerSettings)

    assert settings.redis_url.get_secret_value() == "redis://ledger/0"
    assert not hasattr(settings, "secret_access_key")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(LedgerSettings).key_prefix = "other"  # type: ignore[misc]


def test_broker_and_results_are_on_the_ledgers_server_unless_they_are_named(put: Set) -> None:
    put(REDIS_URL="redis://ledger/0")
    shared = load(LedgerSettings)
    put(BROKER_URL="redis://broker/1", RESULT_BACKEND="redis://results/2")
    apart = load(LedgerSettings)

    assert [url.get_secret_value() for url in (shared.broker, shared.results)] == ["redis://ledger/0"] * 2
    assert apart.broker.get_secret_value() == "redis://broker/1"
    assert apart.results.get_secret_value() == "redis://results/2"


def test_the_gateways_settings_are_known_and_have_defaults() -> None:
    own = {name: GatewaySettings.model_fields[name].default for name in GatewaySettings.model_fields}
    own = {name: value for name, value in own.items() if name.startswith("gateway_")}

    assert own == {
        "gateway_host": "127.0.0.1",
        "gateway_port": 8080,
        "gateway_tokens_file": None,
        "gateway_names": "",
    }
    assert unknown_variables({f"{PREFIX}{name.upper()}": "" for name in own}) == []


def test_every_setting_is_described() -> None:
    assert [name for name, setting in Settings.model_fields.items() if not setting.description] == []


# --- secrets ----------------------------------------------------------------------------------------------


def test_the_secret_settings_are_the_keys_and_urls_with_passwords() -> None:
    assert [name.upper() for name in secret_names(Settings)] == SECRETS


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"], ids=repr)
@pytest.mark.usefixtures("keys")
def test_each_secret_may_be_a_file_with_or_without_a_line_end(
    monkeypatch: pytest.MonkeyPatch, put: Set, tmp_path: Path, name: str, line_end: str
) -> None:
    text = "redis://:pw@host/0" if "_KEY" not in name else " a key with blanks "
    (tmp_path / "secret").write_bytes((text + line_end).encode())
    monkeypatch.delenv(PREFIX + name, raising=False)
    put(**{f"{name}_FILE": str(tmp_path / "secret")})

    assert shown(load(Settings), name) == text


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.usefixtures("keys")
def test_a_secret_and_its_file_at_once_are_refused(put: Set, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("redis://host/0")
    put(**{name: "redis://host/1", f"{name}_FILE": str(tmp_path / "secret")})

    assert problem() == f"SCALEOUT_{name} and SCALEOUT_{name}_FILE are both set: keep one of them"


@pytest.mark.parametrize("path", ["missing", "."], ids=["missing", "directory"])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(put: Set, tmp_path: Path, path: str) -> None:
    put(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY_FILE=str(tmp_path / path))

    text = problem()

    assert text.startswith(f"SCALEOUT_SECRET_ACCESS_KEY_FILE='{tmp_path / path}' cannot be read: ")
    assert "irectory" in text


def test_a_file_that_is_no_text_is_named_and_not_shown(put: Set, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    put(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"))

    text = problem()

    assert text.startswith("SCALEOUT_SECRET_ACCESS_KEY_FILE=")
    assert "hunter2" not in text


def test_a_secret_url_in_the_place_of_its_file_is_not_shown(put: Set) -> None:
    put(REDIS_URL_FILE="redis://:hunter2@host/0")

    text = problem(LedgerSettings)

    assert text.startswith("SCALEOUT_REDIS_URL_FILE cannot be read: ")
    assert "hunter2" not in text


def test_an_empty_file_is_no_secret(put: Set, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    put(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"))

    assert problem().startswith("invalid settings: SCALEOUT_SECRET_ACCESS_KEY: ")


def test_an_unreadable_file_is_named_together_with_other_invalid_settings(put: Set, tmp_path: Path) -> None:
    put(SECRET_ACCESS_KEY_FILE=str(tmp_path / "missing"), QUOTA_CALLS="many", ACCESS_KEY_ID="id")

    text = problem()

    assert "SCALEOUT_SECRET_ACCESS_KEY_FILE" in text
    assert "SCALEOUT_QUOTA_CALLS" in text


@pytest.mark.parametrize("empty", ["SECRET_ACCESS_KEY", "BROKER_URL_FILE"])
def test_an_empty_secret_or_file_name_is_one_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch, put: Set, tmp_path: Path, empty: str
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    put(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"), **{empty: ""})

    assert shown(load(Settings), "SECRET_ACCESS_KEY") == "hunter2"


def test_secrets_are_not_shown_by_the_settings(put: Set) -> None:
    put(
        ACCESS_KEY_ID="hunter2id",
        SECRET_ACCESS_KEY="hunter2key",
        REDIS_URL="redis://:hunter2redis@host/0",
        BROKER_URL="redis://:hunter2broker@host/0",
        RESULT_BACKEND="redis://:hunter2results@host/0",
    )
    settings = load(Settings)

    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.broker)):
        assert "hunter2" not in text


def test_keys_and_passwords_of_urls_are_hidden_from_logs(put: Set) -> None:
    put(
        ACCESS_KEY_ID="the id",
        SECRET_ACCESS_KEY="the key",
        REDIS_URL="redis://user:p%40ss@host/0",
        BROKER_URL="redis://host/0",
    )

    assert load(Settings).secrets() == ["p@ss", "the id", "the key"]
    assert load(LedgerSettings).secrets() == ["p@ss"]


def test_a_password_in_the_query_of_a_url_is_hidden_too(
    put: Set,
) -> None:
    put(REDIS_URL="redis://host/0?password=hunter2")

    assert load(LedgerSettings).secrets() == ["hunter2"]


@pytest.mark.parametrize("start", ["rediss://host/0?", "sentinels://host/0?name=main&"])
def test_a_file_of_the_settings_counts_more_than_one_of_the_url(put: Set, tmp_path: Path, start: str) -> None:
    (tmp_path / "ca.pem").touch()
    put(REDIS_URL=f"{start}ssl_ca_certs=/other.pem", REDIS_CA_FILE=str(tmp_path / "ca.pem"))

    query = parse_qs(load(LedgerSettings).ledger_address.partition("?")[2])
    assert query["ssl_ca_certs"] == [str(tmp_path / "ca.pem")]


def test_the_passwords_of_sentinels_and_their_server_are_secrets(put: Set) -> None:
    put(REDIS_URL="sentinel://:hunter2server@host/0?name=main&sentinel_password=hunter2sentinel")

    assert load(LedgerSettings).secrets() == ["hunter2server", "hunter2sentinel"]


@pytest.mark.parametrize("url", ["redis://[hunter2", "redis://:hunter2@host:port/0"])
def test_of_a_url_that_cannot_be_read_logs_have_to_hide_all(url: str) -> None:
    assert LedgerSettings.model_construct(redis_url=SecretStr(url)).secrets() == [url]


@pytest.mark.parametrize("key", ["hunter2://x", "ab://[hunter2"])
def test_a_key_that_looks_like_a_url_is_hidden_all_the_same(put: Set, key: str) -> None:
    put(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY=key)

    assert load(Settings).secrets() == ["id", key]


# --- what is wrong ----------------------------------------------------------------------------------------

WRONG: dict[str, list[str]] = {
    "REDIS_URL": [
        *("localhost:6379", "http://host/0", "redis://", "unix://run/redis.sock", "unix://", "redis://h:x/0"),
        *("sentinel://host/0", "sentinel://:x@h:x/0?name=main", "sentinels://h/0?name=a&password=b"),
    ],
    "BROKER_URL": ["amqp://host", "redis:/host"],
    "RESULT_BACKEND": ["memory", "redis:///0"],
    "KEY_PREFIX": [
        *("a b", "a:b", "{a}", "x" * 65, "a\nb", "é"),
        *("celery", "unacked", "_kombu.binding.a", "scaleout.sweep", "celery.a"),
    ],
    "API_URL": [
        *("hpc.api.qingcloud.com/api", "ftp://host/api", "https://", "https:///api"),
        *("https://host/api?zone=a", "https://host/api#top", "https://user@host/api", "https://host:x/api"),
    ],
    "QUOTA_CALLS": ["3", "0", "-1", "2000.5", "many", "1e3"],
    "QUOTA_PERIOD_S": ["0", "-1", "inf", "nan", "1h"],
    "POLL_INTERVAL_S": ["0", "-5", "nan", "inf", "often"],
    "TICK_S": ["0", "0.04", "61", "nan", "-1"],
    "COALESCE_WINDOW_S": ["-1", "3601", "nan", "inf"],
    "HTTP_TIMEOUT_S": ["0", "0.09", "601", "nan"],
    "SIGNATURE_TTL_S": ["0", "-60", "inf"],
    "LOG_LAG_S": ["-0.1", "inf", "nan", "soon"],
    "SUBMIT_LEASE_S": ["0", "-1", "inf", "nan"],
    "WAIT_REPLICAS": ["-1", "11", "all", "0.5"],
    "METRICS_PORT": ["0", "70000", "http"],
    "REDIS_CA_FILE": ["/nowhere"],
    "API_CA_FILE": ["/nowhere"],
    "API_PROXY": ["proxy:3128", "https://proxy", "http://proxy/path", "ftp://p"],
    "API_ALLOW_HTTP": ["perhaps"],
    "SUBMISSIONS_AT_ONCE": ["0", "-1", "1025", "2.5"],
    "RETRY_BACKOFF_S": ["0", "301", "nan"],
    "REQUEST_DEADLINE_S": ["0", "604801", "inf", "-1"],
    "OUTCOME_TTL_S": ["59", "31622401", "7d", "60.5"],
    "STREAM_MAXLEN": ["99", "-1", "all"],
    "SIGNED_PATH_SLASH": ["perhaps", "2"],
    "TRACES": ["perhaps", "2"],
    "SIGNATURE_ENCODED_TWICE": ["twice", "-1"],
    "LOG_FORMAT": ["JSON", "text"],
    "LOG_LEVEL": ["info", "TRACE", "20"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
@pytest.mark.usefixtures("keys")
def test_an_invalid_setting_is_named_in_one_line_with_its_condition(put: Set, name: str, text: str) -> None:
    put(**{name: text})

    said = problem()

    assert said.startswith(f"invalid settings: SCALEOUT_{name}")
    assert said.count("SCALEOUT_") == 1
    assert len(said) < 300
    if name not in SECRETS and not any(sign in text for sign in "@?"):
        assert f"SCALEOUT_{name}={text!r}: " in said


@pytest.mark.parametrize("missing", KEYS)
def test_a_missing_key_is_named_with_both_ways_to_give_it(put: Set, missing: str) -> None:
    put(**{name: value for name, value in KEYS.items() if name != missing})

    assert problem() == (
        f"invalid settings: SCALEOUT_{missing} is missing: "
        f"set it, or SCALEOUT_{missing}_FILE to a file that holds it"
    )


def test_every_wrong_setting_is_named_in_the_same_line(put: Set) -> None:
    wrong = {name: texts[0] for name, texts in WRONG.items()}
    put(**wrong)

    said = problem()

    assert [name for name in (*wrong, *KEYS) if f"SCALEOUT_{name}" not in said] == []


@pytest.mark.parametrize(("lease", "timeout"), [("30", "30"), ("10", "30"), ("45", "60")])
@pytest.mark.usefixtures("keys")
def test_a_lease_that_a_call_may_outlast_is_refused(put: Set, lease: str, timeout: str) -> None:
    put(SUBMIT_LEASE_S=lease, HTTP_TIMEOUT_S=timeout)

    assert problem() == (
        f"invalid settings: SCALEOUT_SUBMIT_LEASE_S={lease!r}: must be longer than "
        f"SCALEOUT_HTTP_TIMEOUT_S={timeout}: a call must end before its lease"
    )


@pytest.mark.usefixtures("keys")
def test_a_call_that_may_outlast_the_default_lease_is_refused_too(put: Set) -> None:
    put(HTTP_TIMEOUT_S="60")

    assert problem().startswith("invalid settings: SCALEOUT_SUBMIT_LEASE_S=45.0: must be longer than ")


def test_a_lease_that_is_too_short_is_named_with_other_problems(put: Set, tmp_path: Path) -> None:
    put(SECRET_ACCESS_KEY_FILE=str(tmp_path / "missing"), QUOTA_CALLS="many", SUBMIT_LEASE_S="5")

    said = problem()

    named = ["SECRET_ACCESS_KEY_FILE", "ACCESS_KEY_ID", "QUOTA_CALLS", "SUBMIT_LEASE_S"]
    assert [name for name in named if f"SCALEOUT_{name}" not in said] == []


@pytest.mark.usefixtures("keys")
def test_a_wrong_value_that_is_long_is_cut(put: Set) -> None:
    put(QUOTA_CALLS="9" * 100_000)

    assert len(problem()) < 400


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL", "RESULT_BACKEND"])
@pytest.mark.parametrize(
    "text",
    [
        *("hunter2", "http://:hunter2@host/0", "redis://:hunter2@/0", "redis://:hunter2@host:port/0"),
        *("redis://:hun/hunter2@host/0", "redis://:hun#hunter2@host/0", "redis://:[hunter2@host/0"),
        *("redis://:hunter2@host:99999/0", "redis://:hunter2]@host/0", "redis://:hunter2\n@"),
        *("sentinel://:hunter2@h/0", "sentinel://h/0?hunter2=a", "sentinel://:hu?hunter2@h/0?name=main"),
        "sentinel://h/0?name=main&sentinel_password=hunter2&x=y",
    ],
    ids=repr,
)
def test_a_wrong_url_is_named_without_its_password(put: Set, name: str, text: str) -> None:
    put(**{name: text})

    with pytest.raises(SettingsError) as caught:
        load(LedgerSettings)

    assert f"SCALEOUT_{name}" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_url_is_named_without_its_password_whatever_signs_that_has(put: Set) -> None:
    put(REDIS_URL="redis://:hunter2\N{ACCOUNT OF}@host/0")

    assert "hunter2" not in problem(LedgerSettings)


@pytest.mark.parametrize(
    "url",
    [
        *("https://user:hunter2@host/api", "https://user:hunter2@host:port/api"),
        *("https://host/api?secret_access_key=hunter2", "ftp://user:hunter2@host/api"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_a_password_in_the_apis_url_is_refused_and_hidden(put: Set, url: str) -> None:
    put(API_URL=url)

    assert "hunter2" not in problem()


def test_the_line_is_all_there_is_to_the_error(put: Set) -> None:
    put(QUOTA_CALLS="many", SECRET_ACCESS_KEY="hunter2")

    with pytest.raises(SettingsError) as caught:
        load(Settings)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# --- typing errors ----------------------------------------------------------------------------------------


def test_variables_with_our_prefix_that_mean_nothing_are_found() -> None:
    environment = {
        "SCALEOUT_REDIS_URL": "",
        "SCALEOUT_REDIS_URL_FILE": "",
        "SCALEOUT_SECRET_ACCESS_KEY_FILE": "",
        "SCALEOUT_POLICY_FILE": "",
        "SCALEOUT_TICKS_S": "1",
        "SCALEOUT_TICK_S_FILE": "",
        "SCALEOUT_": "",
        "REDIS_URL": "",
        "PATH": "",
    }

    assert unknown_variables(environment) == ["SCALEOUT_", "SCALEOUT_TICKS_S", "SCALEOUT_TICK_S_FILE"]


def test_no_variable_that_has_a_meaning_is_called_unknown() -> None:
    names = [*DEFAULTS, *KEYS, *(f"{name}_FILE" for name in SECRETS)]

    assert unknown_variables({PREFIX + name: "" for name in names}) == []


@pytest.mark.usefixtures("keys")
def test_an_unknown_variable_stops_nothing(put: Set) -> None:
    put(TICKS_S="1")

    assert load(Settings).tick_s == 1.0
