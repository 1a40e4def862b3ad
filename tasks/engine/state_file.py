"""Keep in a file what this host's workers have seen of the ledger: it outlives them, so a loss is noticed."""

import hashlib
import json
from pathlib import Path

import structlog

from config.settings import Settings
from tasks.ledger.epoch import Epoch

log = structlog.get_logger(__name__)


class StateFile:
    """A small JSON file for each ledger that is used on this host. `directory`: None keeps nothing."""

    def __init__(self, directory: Path | None, settings: Settings) -> None:
        ledger = f"{settings.redis_url.get_secret_value()} {settings.key_prefix}"
        name = f"{settings.key_prefix}-{hashlib.sha256(ledger.encode()).hexdigest()[:12]}.json"
        self._path = None if directory is None else directory / name
        self._saved = ("", -1)
        self._failed = False

    def load(self, epoch: Epoch) -> None:
        """Let the process know what earlier ones have seen."""
        seen = self._read()
        if seen is not None:
            epoch.id, epoch.count, epoch.step = seen

    def save(self, epoch: Epoch) -> None:
        """Write what the process has seen, unless another one of this host has seen more. Never raises."""
        if self._path is None or epoch.lost or not epoch.id or self._saved == (epoch.id, epoch.count):
            return
        before = self._read()
        if before is not None and before[0] == epoch.id and before[1] >= epoch.count:
            return
        fields = {"id": epoch.id, "count": epoch.count, "step": epoch.step}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(fields), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            if not self._failed:
                log.warning("state_not_saved", path=str(self._path), detail=str(error))
            self._failed = True
            return
        self._failed = False
        self._saved = (epoch.id, epoch.count)

    def _read(self) -> tuple[str, int, str] | None:
        """Return id, count and step; None if there is no file, or not one of ours."""
        if self._path is None:
            return None
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
            return str(fields["id"]), int(fields["count"]), str(fields["step"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("state_not_read", path=str(self._path), detail=str(error))
            return None
