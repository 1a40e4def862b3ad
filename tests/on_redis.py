"""Run the tests that say most of the server against another one: `python -m tests.on_redis redis-server`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.redis_server import VARIABLE

# Scripts and transactions of the ledger, messages, lost calls, Celery's features, refusals, copies, replicas,
# rights: every command that is used, and what of the server's behaviour is relied on.
TESTS = (
    "tests/acceptance/test_a_server_that_refuses.py",
    "tests/acceptance/test_a_lost_reply.py",
    "tests/acceptance/test_all_of_celery.py",
    "tests/acceptance/test_ledger_copies.py",
    "tests/acceptance/test_replicas.py",
    "tests/acceptance/test_rights.py",
    "tests/integration/test_a_worker_and_the_simulator.py",
    "tests/integration/test_auto_pipeline.py",
    "tests/integration/test_broker_transport.py",
    "tests/integration/test_ledger.py",
    "tests/integration/test_rate_limiter.py",
    "tests/integration/test_scrubbing.py",
    "tests/integration/test_transactions.py",
    "tests/integration/test_usage_counters.py",
)


def run(server: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests with `server` as the program that they start."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *options, *TESTS],
        cwd=ROOT,
        env={**os.environ, VARIABLE: str(server.resolve())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main(arguments: Sequence[str]) -> int:
    found = shutil.which(arguments[0])
    if found is None:
        sys.stderr.write(f"{arguments[0]} is not a program: name one with make test-redis REDIS=…\n")
        return 2
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    done = run(Path(found))
    sys.stdout.write(f"{version.stdout}{done.stdout}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
