"""What the kernel says of a process is what it has used, its children included."""

import os
from pathlib import Path

import pytest

from benchmarks.processes import BenchmarkFailed, start

USES_A_CHILD = """
import subprocess, sys, time
memory = b"x" * 50_000_000
del memory
burn = "import time\\nend = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
subprocess.run([sys.executable, "-c", burn])
print("ended.", flush=True)
child = subprocess.Popen([sys.executable, "-c", burn + "\\nprint('burnt.', flush=True)\\ntime.sleep(60)"])
time.sleep(60)
"""


def test_cpu_and_peak_memory_include_children_that_have_ended(tmp_path: Path) -> None:
    with start("worker", ["-c", USES_A_CHILD], os.environ, tmp_path) as process:
        process.until_written("ended.")
        assert process.cpu_s() >= 0.3
        process.until_written("burnt.")
        assert 0.6 <= process.cpu_s() < 3
        assert 55 < process.peak_mb() < 200


def test_a_process_that_ends_too_soon_is_reported_with_its_output(tmp_path: Path) -> None:
    with (
        start(
            "worker", ["-c", "print('no such host'); raise SystemExit(3)"], os.environ, tmp_path
        ) as process,
        pytest.raises(BenchmarkFailed, match=r"the worker ended with 3:\nno such host"),
    ):
        process.until_written("ready.")
