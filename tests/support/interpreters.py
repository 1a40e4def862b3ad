"""Other versions of Python than the one that runs the tests, and environments made with them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))


def _runs(program: str | Path, version: str) -> bool:
    """Return whether it is this version; pyenv puts names on the PATH of versions that are not in use."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return False
    return done.stdout.startswith(f"Python {version}.")


def interpreter(*versions: str) -> Path:
    """Return the first of these versions that is installed; skip the test if none is."""
    for version in versions:
        found = [shutil.which(f"python{version}"), *sorted(PYENV.glob(f"versions/{version}.*/bin/python"))]
        for program in found:
            if program is not None and _runs(program, version):
                return Path(program)
    pytest.skip(f"Python {' or '.join(versions)} is not installed")


def environment_with(folder: Path, python: Path, *arguments: str) -> Path:
    """Return the Python of a new virtual environment with what pip installs by `arguments`."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    program = folder / "bin/python"
    pip: list[str | Path] = [
        program,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *arguments,
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"pip install {' '.join(arguments)} failed: {errors or done.returncode}")
    return program
