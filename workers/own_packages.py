"""Refuses to run with another project's `config` or `tasks`, which hides ours in its folder."""

import sys
from importlib.util import find_spec
from pathlib import Path

NAMES = ("config", "tasks")
HERE = Path(__file__).resolve().parent.parent


def check() -> None:
    """End the process in one line if `config` or `tasks` is not the package that belongs to this one."""
    for name in NAMES:
        found = _folder_of(name)
        if found != HERE:
            sys.exit(
                f"scaleout: the package '{name}' of this folder ({found}) hides the one of ehpc-scaleout "
                f"({HERE}): run `scaleout worker`, which works anywhere, or start it in another folder"
            )


def _folder_of(name: str) -> Path | None:
    """Return where the package or module lies; None if there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    paths = list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.origin else [])
    return Path(paths[0]).resolve().parent if paths else None
