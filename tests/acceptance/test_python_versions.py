"""The code runs on each version of Python that the package names."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.interpreters import environment_with, interpreter
from tests.support.processes import ROOT

TESTS = ("tests/unit", "tests/integration/test_ledger.py", "tests/integration/test_command_line.py")
WORKERS = ("tests/integration/test_a_worker_and_the_simulator.py", "tests/acceptance/test_all_of_celery.py")


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_units_commands_and_workers_run_on_this_version(version: str, tmp_path: Path) -> None:
    locked = ("--require-hashes", "--requirement", str(ROOT / "requirements.lock"))
    python = environment_with(tmp_path / "venv", interpreter(version), *locked)
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--editable",
        str(ROOT),
    ]
    subprocess.run([python, *install], check=True)

    pytest_ = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [python, *pytest_, *TESTS, *WORKERS],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-10_000:]
