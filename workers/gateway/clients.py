"""Who may use the gateway: the tokens file, which is read again when it changes."""

import hashlib
import hmac
import secrets
import time
import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.validation_messages import field_path, messages

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 1.0
TOKEN_BYTES = 32
RoleName = Literal["read", "submit", "operate"]
NAME = r"^[A-Za-z0-9._-]{1,64}$"


class Role(IntEnum):
    """Each may do what those before it may."""

    NONE = 0
    READ = 1
    SUBMIT = 2
    OPERATE = 3


@dataclass(frozen=True, slots=True)
class Client:
    """`requested_by`: what its requests carry; None if it may name anybody."""

    name: str
    role: Role
    requested_by: str | None = None


class TokensError(ValueError):
    """The tokens file cannot be used; the text names every mistake."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: RoleName
    requested_by: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: dict[Annotated[str, Field(pattern=NAME)], _Entry] = Field(default_factory=dict)


def sha256_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(name: str, role: RoleName) -> tuple[str, str]:
    """Return a token, and the table for the tokens file that accepts it."""
    token = f"scaleout_{secrets.token_urlsafe(TOKEN_BYTES)}"
    table = f'[clients."{name}"]\ntoken_sha256 = "{sha256_of(token)}"\nrole = "{role}"\n'
    return token, f'{table}requested_by = "{name}"\n' if role == "submit" else table


def read_tokens(path: Path) -> dict[str, Client]:
    """Return the clients by the hash of their token. Raises TokensError with every mistake."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found = _File.model_validate(data)
    except OSError as error:
        raise TokensError(f"tokens file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TokensError(f"tokens file {path} is not TOML: {error}") from None
    except ValidationError as error:
        problems = messages(error, _File, name=field_path, hide=lambda at: at[-1] == "token_sha256")
        raise TokensError(f"tokens file {path}: {'; '.join(problems)}") from None
    return {
        entry.token_sha256: Client(name, Role[entry.role.upper()], entry.requested_by)
        for name, entry in found.clients.items()
    }


class Tokens:
    """The clients of a tokens file. A file that has become invalid changes nothing, and is logged once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clients = read_tokens(path)
        self._signature = self._stat()
        self._checked_at = time.monotonic()

    def client_of(self, token: str) -> Client | None:
        """Return whose token it is. Every hash is compared, in constant time."""
        self._read_again()
        given, found = sha256_of(token), None
        for known, client in self._clients.items():
            if hmac.compare_digest(known, given):
                found = client
        return found

    def hash_of(self, name: str) -> str | None:
        """Return the hash of a client's token; None for a client that is not there."""
        self._read_again()
        return next((known for known, client in self._clients.items() if client.name == name), None)

    def by_hash(self, token_sha256: str) -> Client:
        return self._clients[token_sha256]

    def _read_again(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < CHECK_INTERVAL_S:
            return
        self._checked_at = now
        signature = self._stat()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._clients = read_tokens(self._path)
        except TokensError as error:
            log.error("tokens_invalid", detail=str(error))  # noqa: TRY400 - no error of the program
        else:
            log.info("tokens_loaded", clients=len(self._clients))

    def _stat(self) -> Any:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
