"""Celery's options: those that a promise rests on, and that Celery knows every one of them."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

from config.celery_options import ADD_NODES, SWEEP, celery_options
from config.settings import LedgerSettings, load


@pytest.fixture(autouse=True)
def _nothing_of_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("SCALEOUT_"):
            monkeypatch.delenv(name)


def options(*, result_expires_s: float = 86_400.0, **given: Any) -> Mapping[str, Any]:
    return celery_options(load(LedgerSettings, **given), result_expires_s=result_expires_s)


def app(**given: Any) -> Celery:
    """An app of its own, which is not made the current one of this process."""
    app = Celery("test", set_as_current=False)
    app.conf.update(options(**given))
    return app


def test_celery_knows_every_option_by_its_name() -> None:
    known = {name for name, _ in flatten(NAMESPACES)}

    # The one that is left is read by the Redis backend, though it has no default.
    assert set(options()) - known == {"redis_backend_health_check_interval"}


def test_the_names_that_other_services_use_are_those_of_the_documentation() -> None:
    settings = load(LedgerSettings)

    assert (settings.queue, ADD_NODES) == ("scaleout", "scaleout.add_nodes")
    assert (settings.sweep_queue, SWEEP) == ("scaleout.sweep", "scaleout.sweep")
    assert (app().conf.control_exchange, app().conf.event_exchange) == ("celery", "celeryev")


def test_two_installations_share_no_queue_and_no_list_of_unacknowledged_messages() -> None:
    names = [names_in_redis(app(key_prefix=prefix)) for prefix in ("scaleout", "staging")]

    assert not names[0] & names[1]


def names_in_redis(app: Celery) -> set[str]:
    conf, options = app.conf, app.conf.broker_transport_options
    unacked = {options[f"unacked_{name}"] for name in ("key", "index_key", "mutex_key")}
    routed = {app.amqp.router.route({}, task)["queue"].name for task in (SWEEP, ADD_NODES)}
    return unacked | routed | {conf.control_exchange, conf.event_exchange}


def test_broker_and_results_are_the_ledgers_server_unless_they_are_named() -> None:
    shared = options(redis_url="redis://ledger/0")
    apart = options(
        redis_url="redis://ledger/0", broker_url="redis://broker/1", result_backend="redis://results/2"
    )

    assert (shared["broker_url"], shared["result_backend"]) == ("redis://ledger/0", "redis://ledger/0")
    assert (apart["broker_url"], apart["result_backend"]) == ("redis://broker/1", "redis://results/2")


def test_a_worker_that_dies_while_restoring_messages_blocks_others_only_briefly() -> None:
    given = app().conf.broker_transport_options

    assert given["unacked_mutex_expire"] < given["visibility_timeout"]


def test_a_message_is_acknowledged_after_its_task_and_restored_soon() -> None:
    conf = app().conf

    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.broker_transport_options["visibility_timeout"] <= 60


def test_nothing_but_json_is_sent_or_taken() -> None:
    conf = app().conf

    assert conf.accept_content == ["json"]
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}


def test_a_plain_worker_runs_eight_threads() -> None:
    conf = app().conf

    assert (conf.worker_pool, conf.worker_concurrency) == ("threads", 8)


def test_the_sweep_has_a_queue_of_its_own() -> None:
    router = app().amqp.router

    assert router.route({}, SWEEP)["queue"].name == "scaleout.sweep"
    assert router.route({}, ADD_NODES)["queue"].name == "scaleout"
    assert router.route({}, "anything.else")["queue"].name == "scaleout"


def test_no_connection_waits_for_ever() -> None:
    conf = app().conf
    broker = conf.broker_transport_options

    assert 0 < broker["socket_timeout"] <= 10
    assert 0 < broker["socket_connect_timeout"] <= 10
    assert 0 < broker["health_check_interval"] <= 30
    assert 0 < conf.redis_socket_timeout <= 10
    assert 0 < conf.redis_socket_connect_timeout <= 10
    assert 0 < conf.redis_backend_health_check_interval <= 30
    assert broker["socket_keepalive"] is conf.redis_socket_keepalive is True


def test_a_broker_that_is_away_is_waited_for_without_end() -> None:
    conf = app().conf

    assert conf.broker_connection_max_retries is None
    assert conf.broker_connection_retry_on_startup is True
    assert conf.result_backend_always_retry is True


def test_the_result_backend_itself_has_these_timeouts_and_checks_certificates() -> None:
    connection = app(redis_url="rediss://:pw@ledger:6380/3").backend.connparams

    assert connection["socket_timeout"] == connection["socket_connect_timeout"] == 5
    assert connection["health_check_interval"] == 5
    assert connection["socket_keepalive"] is True
    assert connection["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert (connection["host"], connection["port"], connection["db"]) == ("ledger", 6380, 3)


@pytest.mark.parametrize(("seconds", "expires"), [(60, 60), (1_209_600.9, 1_209_600)])
def test_results_are_kept_for_the_given_number_of_seconds(seconds: float, expires: int) -> None:
    assert options(result_expires_s=seconds)["result_expires"] == expires


@pytest.mark.parametrize(
    ("broker", "results", "names"),
    [
        ("redis://b/0", "redis://r/0", []),
        ("rediss://b/0", "redis://r/0", ["broker_use_ssl"]),
        ("redis://b/0", "rediss://r/0", ["redis_backend_use_ssl"]),
        ("rediss://b/0", "rediss://r/0", ["broker_use_ssl", "redis_backend_use_ssl"]),
    ],
)
def test_tls_is_used_where_the_url_says_so_and_certificates_are_checked(
    broker: str, results: str, names: list[str]
) -> None:
    found = options(broker_url=broker, result_backend=results)

    tls = {name: found[name] for name in ("broker_use_ssl", "redis_backend_use_ssl") if found[name]}
    assert tls == {name: {"ssl_cert_reqs": ssl.CERT_REQUIRED} for name in names}


def test_time_is_utc_and_logs_stay_ours() -> None:
    conf = app().conf

    assert (conf.enable_utc, conf.timezone) == (True, "UTC")
    assert conf.worker_hijack_root_logger is False
    assert conf.worker_redirect_stdouts is False


def test_remote_control_stays_on_and_events_wait_until_requested() -> None:
    conf = app().conf

    assert conf.worker_enable_remote_control is True
    assert conf.worker_send_task_events is False


def test_no_option_shows_a_password_but_the_urls_that_need_it() -> None:
    found = options(redis_url="redis://:hunter2@ledger/0")

    assert [name for name, value in found.items() if "hunter2" in repr(value)] == [
        "broker_url",
        "result_backend",
    ]


def test_sentinels_are_given_to_celery_in_its_own_form() -> None:
    given = options(
        redis_url="sentinel://u:p%2Fw@h1:1,h2:2/3?name=main&sentinel_password=of-sentinels",
        result_backend="redis://results/2",
    )

    transport = given["broker_transport_options"]
    assert given["broker_url"] == "sentinel://u:p%2Fw@h1:1/3;sentinel://u:p%2Fw@h2:2/3"
    assert (transport["master_name"], transport["sentinel_kwargs"]["password"]) == ("main", "of-sentinels")
    assert (transport["awaited_queue"], transport["socket_timeout"]) == ("scaleout", 5)
    assert (given["result_backend"], given["result_backend_transport_options"]) == ("redis://results/2", {})


def test_tls_of_sentinels_is_checked_for_both(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    given = options(redis_url="sentinels://h1/0?name=main", redis_ca_file=tmp_path / "ca.pem")

    files = {"ssl_ca_certs": str(tmp_path / "ca.pem")}
    assert given["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED, **files}
    for name in ("broker_transport_options", "result_backend_transport_options"):
        sentinels = given[name]["sentinel_kwargs"]
        assert {**sentinels, "ssl": True, **files} == sentinels


@pytest.mark.parametrize(
    ("url", "celerys"),
    [
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix://:pw@/run/redis.sock?db=3", "redis+socket://:pw@/run/redis.sock?virtual_host=3"),
    ],
)
def test_a_socket_is_given_to_celery_in_its_own_form(url: str, celerys: str) -> None:
    given = options(redis_url=url)

    assert (given["broker_url"], given["result_backend"]) == (celerys, celerys)
