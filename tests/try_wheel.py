"""Install a wheel into an empty venv and use it from elsewhere: the demo, a producer, the client library."""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

LIBRARY = "from scaleout_client import ScaleoutClient; ScaleoutClient('http://127.0.0.1:1')"


def main(wheel: Path) -> int:
    if relative := _relative_links(wheel):
        sys.stderr.write(f"links of the README that lead nowhere on an index: {relative}\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="scaleout-wheel-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        python, programs = folder / "venv/bin/python", folder / "venv/bin"
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"{wheel.resolve()}[demo,otel]"], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
        version = _said([programs / "scaleout", "--version"], folder)
        _said([python, "-c", LIBRARY], folder)
        report = json.loads(_said([programs / "scaleout", "demo", "--json"], folder))
    ended = len(report["outcomes"])
    sys.stdout.write(f"{version.strip()}: {ended} requests of the demo ended, {report['nodes']} nodes\n")
    return 0 if report["nodes"] == 301 else 1


def _relative_links(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        targets = re.findall(r"\]\(([^)]+)\)", archive.read(metadata).decode())
    return [target for target in targets if not target.startswith(("https://", "http://", "#"))]


def _said(command: Sequence[object], folder: Path) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
