"""Calls made from the gateway's own OpenAPI document, valid and not, alone and one after the other."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateway import gateway
from tests.support.processes import Simulator, environment, worker
from workers.gateway.clients import new_token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
# What fields may be together, and which ids a gateway has given, no schema says: a refusal of such a call is
# right. All else that can be checked is.
NOT_SAID = "positive_data_acceptance"
ENDLESS = "/v1/events"  # an answer has no end there: other tests read it
EACH = "4"


def test_every_call_answers_as_the_document_says(redis_url: str, provider: Simulator, tmp_path: Path) -> None:
    token, table = new_token("fuzzer", "operate")
    (tmp_path / "tokens.toml").write_text(table)
    env = environment(redis_url, provider.api_url)
    with (
        gateway(env, tmp_path / "gateway.log", TOKENS_FILE=tmp_path / "tokens.toml") as running,
        worker(env, tmp_path / "worker.log"),
    ):
        options = ["--url", running.url, "--header", f"Authorization: Bearer {token}", "--no-color"]
        options += [
            "--max-examples",
            EACH,
            "--seed",
            "1",
            "--exclude-checks",
            NOT_SAID,
            "--exclude-path",
            ENDLESS,
        ]
        options += ["--rate-limit", "50/s", "--suppress-health-check", "all"]
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/v1/openapi.json", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        failed = running.process.events("request_failed")

    assert done.returncode == 0, done.stdout[-6_000:]
    assert failed == []
    assert token not in done.stdout
