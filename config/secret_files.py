"""Secrets that are given as files: `SCALEOUT_<NAME>_FILE`."""

import os
import stat
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from config.validation_messages import shown

PREFIX = "SCALEOUT_"
FILE_SUFFIX = "_FILE"
MAX_PATH_CHARS = 400


class SecretFiles(PydanticBaseSettingsSource):
    """Read `SCALEOUT_<NAME>_FILE` for each secret setting: the file's text, without the final line end."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_secret_files(self.settings_cls)[0]


def read_secret_files(settings: type[BaseSettings]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the secrets that are given as files, and the problems of unreadable ones, by field."""
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in secret_names(settings):
        variable = f"{PREFIX}{name.upper()}{FILE_SUFFIX}"
        path = os.environ.get(variable)
        if not path:
            continue
        if os.environ.get(f"{PREFIX}{name.upper()}"):
            problems[name] = f"{PREFIX}{name.upper()} and {variable} are both set: keep one of them"
            continue
        try:
            values[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            problems[name] = f"{variable}{shown(path, MAX_PATH_CHARS)} cannot be read: {error.strerror}"
        except ValueError:
            problems[name] = f"{variable}{shown(path, MAX_PATH_CHARS)} cannot be read: it is not UTF-8"
    return values, problems


def readable_by_others(settings: type[BaseSettings]) -> list[str]:
    """Return the secrets' files that any user of this machine may read, each with its variable."""
    found = []
    for name in secret_names(settings):
        variable = f"{PREFIX}{name.upper()}{FILE_SUFFIX}"
        path = os.environ.get(variable)
        try:
            mode = Path(path).stat().st_mode if path else 0
        except OSError:
            continue
        if mode & stat.S_IROTH:
            found.append(
                f"{variable}{shown(path, MAX_PATH_CHARS)} may be read by everybody (mode {mode & 0o777:o})"
            )
    return found


def secret_names(settings: type[BaseSettings]) -> list[str]:
    """Return the fields that hold secrets, each of which may be given as a file."""
    return [name for name, field in settings.model_fields.items() if "SecretStr" in str(field.annotation)]
