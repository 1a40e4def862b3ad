"""Every setting and its default, read from the environment."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from config.loopback import is_loopback
from config.secret_files import FILE_SUFFIX, PREFIX, SecretFiles, read_secret_files, secret_names
from config.sentinels import EXAMPLE as SENTINELS_EXAMPLE
from config.sentinels import names_sentinels, parse_sentinels
from config.validation_messages import Location, messages

URLS_WITH_PASSWORDS = frozenset({"redis_url", "broker_url", "result_backend"})
WITH_TLS = ("rediss://", "sentinels://")
DEFAULT_PREFIX = "scaleout"
SWEEP_SUFFIX = ".sweep"
# As the name of a queue they would take the messages of another Celery application on the server.
NAMES_OF_CELERY = frozenset({"celery", "celeryev"})
STARTS_OF_CELERY = ("_kombu", "unacked", "celery-task-meta", "celery.", "reply.")
# As guides and examples write them; letters and digits only.
PLACEHOLDERS = frozenset(
    f"{whose}{what}"
    for whose in ("my", "your")
    for what in (
        "key",
        "secret",
        "accesskey",
        "accesskeyid",
        "secretkey",
        "secretaccesskey",
        "apikey",
        "apisecret",
    )
) | {"changeme", "replaceme", "placeholder", "todo", "tbd", "example"}


class SettingsError(ValueError):
    """One or more settings are invalid; the text is one line that names each of them."""


def _parsed(text: str) -> URL | None:
    """Return None for an invalid URL: the library's own message may quote a password."""
    try:
        return URL(text)
    except ValueError:
        return None


def _passwords(text: str) -> list[str]:
    """Return those from all places that the Redis client reads; all of a text that is not a URL."""
    if names_sentinels(text):
        try:
            found = parse_sentinels(text)
        except ValueError:
            return [text]
        return [found.password or "", found.sentinel_password or ""]
    url = _parsed(text)
    return [text] if url is None else [url.password or "", url.query.get("password", "")]


def _redis_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if names_sentinels(text):
        parse_sentinels(text)
        return value
    url = _parsed(text)
    of_host = url is not None and url.scheme in ("redis", "rediss") and url.host
    of_socket = url is not None and url.scheme == "unix" and len(url.path) > 1 and not url.host
    if not (of_host or of_socket):
        raise ValueError(
            "must be a URL such as redis://host:6379/0, rediss://host:6380/0, unix:///run/redis.sock or "
            f"{SENTINELS_EXAMPLE}"
        )
    return value


def _http_url(value: str) -> str:
    url = _parsed(value)
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be a URL such as https://hpc.api.qingcloud.com/api")
    if url.user or url.password or url.query_string or url.fragment:
        raise ValueError("must have no user, password, query or fragment")
    return value.rstrip("/")


def _readable(value: Path) -> Path:
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return value


def _proxy_url(value: str) -> str:
    url = _parsed(value)
    if url is None or url.scheme != "http" or not url.host or url.path != "/" or url.query_string:
        raise ValueError("must be a URL such as http://proxy.example:3128")
    return value


def _key_prefix(value: str) -> str:
    if value in NAMES_OF_CELERY or value.startswith(STARTS_OF_CELERY) or value.endswith(SWEEP_SUFFIX):
        raise ValueError("must not be a name that Celery or another installation uses; try my-team")
    return value


def _real_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    letters = "".join(char for char in text.lower() if char.isalnum())
    if not text.isascii() or letters in PLACEHOLDERS or text[:1] in "<${[" or not letters.strip("x"):
        raise ValueError("is a placeholder: set the key that the provider's console shows for your account")
    return value


KeyPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$"), AfterValidator(_key_prefix)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
AccessKey = Annotated[SecretStr, AfterValidator(_real_key)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LedgerSettings(BaseSettings):
    """Settings of programs that only use the ledger: producers and the command line."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    redis_url: RedisUrl = Field(SecretStr("redis://localhost:6379/0"), description="The ledger's server")
    broker_url: RedisUrl | None = Field(None, description="Celery's broker, if it is another server")
    result_backend: RedisUrl | None = Field(None, description="Celery's results, if on another server")
    redis_ca_file: ReadableFile | None = Field(
        None, description="Authority that has signed the server's certificate, for `rediss://`"
    )
    redis_cert_file: ReadableFile | None = Field(None, description="Certificate that the server asks for")
    redis_key_file: ReadableFile | None = Field(None, description="Its key")
    key_prefix: KeyPrefix = Field(
        DEFAULT_PREFIX, description="First part of every key in Redis, and the name of the queue"
    )
    coalesce_window_s: SecondsOrNone = Field(
        1.0, le=3600, description="How long small requests of a pool wait for each other"
    )
    request_deadline_s: Seconds = Field(
        7200.0, le=7 * 86400, description="Deadline of a request that names none"
    )
    outcome_ttl_s: int = Field(7 * 86400, ge=60, le=366 * 86400, description="How long outcomes are kept")
    stream_maxlen: int = Field(100_000, ge=100, description="Approximate length of the outcome stream")
    policy_file: Path | None = Field(None, description="Limits, schedules and webhooks")
    traces: bool = Field(False, description="Send traces by OTLP; `OTEL_…` variables say where to")
    log_format: Literal["json", "console"] = Field(
        "json", description="`json`: an object a line; `console`: text for people"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="Lowest level: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`"
    )

    @property
    def queue(self) -> str:
        """The queue of requests."""
        return self.key_prefix

    @property
    def sweep_queue(self) -> str:
        return f"{self.key_prefix}{SWEEP_SUFFIX}"

    @property
    def broker(self) -> SecretStr:
        return self.broker_url or self.redis_url

    @property
    def results(self) -> SecretStr:
        return self.result_backend or self.redis_url

    @property
    def tls(self) -> dict[str, str]:
        """Options of Redis clients for servers with TLS, as redis-py names them."""
        files = {
            "ssl_ca_certs": self.redis_ca_file,
            "ssl_certfile": self.redis_cert_file,
            "ssl_keyfile": self.redis_key_file,
        }
        return {name: str(path) for name, path in files.items() if path is not None}

    def address(self, url: SecretStr) -> str:
        """Return the URL of a server with what redis-py has to know of TLS in it."""
        text = url.get_secret_value()
        if not text.startswith(WITH_TLS) or not self.tls:
            return text
        base, _, query = text.partition("?")
        return f"{base}?{urlencode({**dict(parse_qsl(query, keep_blank_values=True)), **self.tls})}"

    @property
    def ledger_address(self) -> str:
        return self.address(self.redis_url)

    @property
    def broker_address(self) -> str:
        return self.address(self.broker)

    @property
    def results_address(self) -> str:
        return self.address(self.results)

    @field_validator("redis_key_file")
    @classmethod
    def _belongs_to_a_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("redis_cert_file") is None:
            raise ValueError(f"belongs to {PREFIX}REDIS_CERT_FILE: set that too")
        return value

    def secrets(self) -> list[str]:
        """Return every secret text, for redaction: whole keys, and the passwords of URLs."""
        found: list[str] = []
        for name in secret_names(type(self)):
            value = getattr(self, name)
            if value is None:
                continue
            text = value.get_secret_value()
            found += _passwords(text) if name in URLS_WITH_PASSWORDS else [text]
        return [text for text in found if text]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, SecretFiles(settings_cls))


class QuotaSettings(LedgerSettings):
    """Settings that decide how many API calls are made, and when."""

    quota_calls: int = Field(2000, ge=4, description="API calls that the account may make in one period")
    quota_period_s: Seconds = Field(3600.0, description="Length of that period")
    poll_interval_s: Seconds = Field(5.0, description="Minimum interval between polls of a zone")
    http_timeout_s: Annotated[float, Field(ge=0.1, le=600)] = Field(
        30.0, description="Timeout of an API call"
    )


class Settings(QuotaSettings):
    """Settings of a worker."""

    api_allow_http: bool = Field(
        False, description="Allow an API URL with `http://` that is not on this machine"
    )
    api_url: HttpUrl = Field(
        "https://hpc.api.qingcloud.com/api", description="URL of the EHPC API, without the action's path"
    )
    api_ca_file: ReadableFile | None = Field(
        None, description="Authority that has signed the API's certificate, instead of the usual ones"
    )
    api_proxy: ProxyUrl | None = Field(None, description="Proxy for the API, such as http://proxy:3128")
    access_key_id: AccessKey = Field(min_length=1, description="The account's access key")
    secret_access_key: AccessKey = Field(min_length=1, description="The key that signs every call")
    tick_s: Annotated[float, Field(ge=0.05, le=60)] = Field(
        1.0, description="Interval between checks for due work"
    )
    signature_ttl_s: Seconds = Field(60.0, description="How long the provider accepts a signature")
    log_lag_s: SecondsOrNone = Field(10.0, description="How late a job may appear in the operation log")
    state_dir: Path | None = Field(
        None,
        description="Where a host keeps what its workers have seen of the ledger, to notice a loss later",
    )
    wait_replicas: int = Field(
        0, ge=0, le=10, description="Replicas that must have an operation before its call is sent"
    )
    submit_lease_s: Seconds = Field(45.0, description="How long due work is leased to one worker")
    submissions_at_once: int = Field(
        64, ge=1, le=1024, description="How many submissions one worker runs at the same time"
    )
    retry_backoff_s: Seconds = Field(5.0, le=300, description="First wait after a refusal; doubles, to 300")
    signed_path_slash: bool = Field(True, description="Whether the signed path ends in a slash")
    signature_encoded_twice: bool = Field(True, description="Whether the signature is percent-encoded twice")
    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="Port at which a worker serves `/metrics`; none if it is not set"
    )
    metrics_host: str = Field("127.0.0.1", min_length=1, description="Address at which it does")
    add_nodes_job_action: str = Field(
        "HpcClusterAddClusterNodes", min_length=1, description="The log's name for the jobs of addNodes"
    )

    @field_validator("api_url")
    @classmethod
    def _cannot_be_listened_to(cls, value: str, info: ValidationInfo) -> str:
        url = URL(value)
        if url.scheme == "http" and not info.data.get("api_allow_http") and not is_loopback(url.host or ""):
            raise ValueError(
                f"anybody who listens can send a signed call again for a minute: use https, or set "
                f"{PREFIX}API_ALLOW_HTTP=true"
            )
        return value

    @field_validator("submit_lease_s")
    @classmethod
    def _outlasts_a_call(cls, value: float, info: ValidationInfo) -> float:
        timeout = info.data.get("http_timeout_s")
        if timeout is not None and value <= timeout:
            raise ValueError(
                f"must be longer than {PREFIX}HTTP_TIMEOUT_S={timeout:g}: a call must end before its lease"
            )
        return value


class GatewaySettings(QuotaSettings):
    """Settings of the HTTP gateway."""

    gateway_host: str = Field("127.0.0.1", min_length=1, description="Address that the gateway listens on")
    gateway_port: int = Field(8080, ge=0, le=65_535, description="Port of the gateway; 0 for any free one")
    gateway_tokens_file: Path | None = Field(
        None, description="Clients of the gateway; without it, only this machine may use it"
    )
    gateway_names: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.,:_\[\] -]*$",
        description="Names of the gateway, with commas between, if there is no tokens file",
    )


S = TypeVar("S", bound="LedgerSettings")


def _variable(location: Location) -> str:
    return f"{PREFIX}{str(location[0]).upper()}" if location else ""


def _problems(error: ValidationError, unreadable: Collection[str]) -> list[str]:
    found = messages(
        error,
        Settings,
        name=_variable,
        skip=lambda location: bool(location) and location[0] in unreadable,
        hide=lambda location: bool(location) and location[0] in _SECRET_FIELDS,
    )
    remedy = " is missing: set it, or {0}" + FILE_SUFFIX + " to a file that holds it"
    return [
        text.removesuffix(" is missing") + remedy.format(text.split()[0])
        if text.endswith(" is missing")
        else text
        for text in found
    ]


_SECRET_FIELDS = frozenset(secret_names(Settings))


def load(kind: type[S], **given: Any) -> S:
    """Read `kind` from the environment; `given` values override it.

    Raises:
        SettingsError: one line that names every invalid or missing setting and shows no secret.
    """
    unreadable = read_secret_files(kind)[1]
    problems = list(unreadable.values())
    try:
        settings = kind(**given)
    except ValidationError as error:
        problems += _problems(error, unreadable)
    else:
        if not problems:
            return settings
    text = "; ".join(problems)
    raise SettingsError(text if len(problems) == len(unreadable) else f"invalid settings: {text}") from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return variables with our prefix that are no settings: most often a typing error."""
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *GatewaySettings.model_fields)}
    known |= {f"{PREFIX}{name.upper()}{FILE_SUFFIX}" for name in _SECRET_FIELDS}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
