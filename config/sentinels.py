"""The URL by which a Redis server is found through its sentinels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEMES = ("sentinel", "sentinels")
DEFAULT_PORT = 26_379
EXAMPLE = "sentinel://host1:26379,host2:26379,host3:26379/0?name=main"
# As redis-py names them.
TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
# A sentinel that does not answer is passed over: there are others.
TIMEOUTS = {"socket_timeout": 2, "socket_connect_timeout": 2, "socket_keepalive": True}
OWN_OPTIONS = frozenset({"name", "sentinel_username", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Sentinels, and the server that they watch under `name`.

    Fields:
        hosts: host and port of each sentinel.
        username, password, db: of the server. Sentinels have a user and password of their own.
        tls: files for TLS to sentinels and server alike, as redis-py names them; None without TLS.
    """

    hosts: tuple[tuple[str, int], ...]
    name: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] | None = None

    @property
    def celery_url(self) -> str:
        """The URL in the form that Celery reads; the rest goes by its transport options.

        Source: docs.celeryq.dev, Using Redis, Connection to Redis Sentinel.
        """
        user = ""
        if self.username or self.password:
            user = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        return ";".join(
            f"sentinel://{user}{f'[{host}]' if ':' in host else host}:{port}/{self.db}"
            for host, port in self.hosts
        )

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Options for connections to the sentinels, as redis-py names them."""
        options: dict[str, Any] = dict(TIMEOUTS)
        if self.sentinel_username:
            options["username"] = self.sentinel_username
        if self.sentinel_password:
            options["password"] = self.sentinel_password
        return options if self.tls is None else {**options, "ssl": True, **self.tls}


def names_sentinels(url: str) -> bool:
    """Return whether the URL has the scheme of one."""
    return url.partition("://")[0] in SCHEMES


def parse_sentinels(url: str) -> Sentinels:
    """Read a URL such as EXAMPLE.

    Raises:
        ValueError: it is not one; the text names what is wrong, and quotes no password.
    """
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise ValueError(f"must be a URL such as {EXAMPLE}") from None
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    problems = []
    if given.keys() - OWN_OPTIONS - TLS_OPTIONS:
        # Not named: it may be a part of a password that is not percent-encoded.
        problems.append(f"must have no options but {', '.join(sorted(OWN_OPTIONS))}")
    if not given.get("name"):
        problems.append("must name the server that the sentinels watch, such as ?name=main")
    found = [_host(text) for text in hosts.split(",")]
    if None in found:
        problems.append(f"must list sentinels with their ports, as in {EXAMPLE}")
    db = parts.path.strip("/") or "0"
    if not (db.isascii() and db.isdigit()):
        problems.append("must have a number as its database")
    if problems:
        raise ValueError("; ".join(problems))
    tls = MappingProxyType({name: given[name] for name in sorted(TLS_OPTIONS & given.keys())})
    return Sentinels(
        hosts=tuple(host for host in found if host is not None),
        name=given["name"],
        db=int(db),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=given.get("sentinel_username") or None,
        sentinel_password=given.get("sentinel_password") or None,
        tls=tls if parts.scheme == "sentinels" else None,
    )


def _host(text: str) -> tuple[str, int] | None:
    """Return host and port, or None."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        port = parts.port or DEFAULT_PORT
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and "@" not in text and not parts.path else None
