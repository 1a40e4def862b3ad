"""Celery's options for where broker and results are: a host, a socket, or sentinels that know the master."""

import ssl
from collections.abc import Mapping
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from config.sentinels import names_sentinels, parse_sentinels
from config.settings import LedgerSettings


def server_options(settings: LedgerSettings) -> Mapping[str, Any]:
    """Return the URLs of broker and results as Celery reads them, with their TLS and their sentinels."""
    broker, results = settings.broker_address, settings.results_address
    return {
        "broker_url": _celery_url(settings.broker.get_secret_value()),
        # rediss:// is ignored once the transport is given as a class.
        "broker_use_ssl": _tls(broker, settings),
        "broker_transport_options": _sentinel_options(broker),
        "result_backend": _celery_url(settings.results.get_secret_value()),
        "redis_backend_use_ssl": _tls(results, settings),
        "result_backend_transport_options": _sentinel_options(results),
    }


def _celery_url(url: str) -> str:
    """Source: docs.celeryq.dev, Using Redis."""
    if names_sentinels(url):
        return parse_sentinels(url).celery_url
    if url.startswith("unix://"):
        socket, _, options = url.removeprefix("unix://").partition("?")
        options = "&".join(
            f"virtual_host={value}" if name == "db" else f"{name}={value}"
            for name, _, value in (option.partition("=") for option in options.split("&") if option)
        )
        return f"redis+socket://{socket}?{options}" if options else f"redis+socket://{socket}"
    return url


def _sentinel_options(address: str) -> dict[str, Any]:
    if not names_sentinels(address):
        return {}
    found = parse_sentinels(address)
    # One that does not answer would be asked four times, for a quarter of a minute.
    once = Retry(NoBackoff(), 0)
    return {"master_name": found.name, "sentinel_kwargs": {**found.sentinel_options, "retry": once}}


def _tls(address: str, settings: LedgerSettings) -> dict[str, Any] | None:
    if names_sentinels(address):
        tls = parse_sentinels(address).tls
    else:
        tls = settings.tls if address.startswith("rediss://") else None
    return None if tls is None else {"ssl_cert_reqs": ssl.CERT_REQUIRED, **tls}
