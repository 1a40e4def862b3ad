"""The README as the package index shows it: there, links to files of the repository would lead nowhere.

With SCALEOUT_SOURCE_URL, or in a workflow of GitHub, they are absolute and the project's address is named.
Otherwise the links are left out, and their text stays.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)\s]+)\)")


def source_url(environment: dict[str, str]) -> str | None:
    """Return where the files of this version are, if that is known."""
    if given := environment.get("SCALEOUT_SOURCE_URL"):
        return given.rstrip("/")
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY")
    if all(environment.get(name) for name in names):
        return "/".join(environment[name] for name in names)
    return None


def readme_of_the_index(text: str, url: str | None, version: str) -> str:
    """Return the README without links that are relative."""

    def replaced(link: re.Match[str]) -> str:
        picture, shown, target = link.groups()
        if url is None:
            return "" if picture else shown
        return f"{picture}[{shown}]({url}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return LINK.sub(replaced, text)


class CustomMetadataHook(MetadataHookInterface):  # type: ignore[misc]  # it is not there for mypy
    """Called by hatchling, for wheel and sdist alike."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set what pyproject.toml calls dynamic."""
        url = source_url(dict(os.environ))
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        shown = readme_of_the_index(text, url, str(metadata["version"]))
        metadata["readme"] = {"content-type": "text/markdown", "text": shown}
        if url is not None:
            changes = f"{url}/blob/v{metadata['version']}/CHANGELOG.md"
            metadata["urls"] = {"Source": url, "Changelog": changes}
