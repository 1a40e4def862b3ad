"""The README's HTTP calls, typed as they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.gateway import gateway
from tests.support.processes import ROOT, environment, simulator, worker

PAGES = ("README.md", "docs/how-to/gateway.md")


def commands(page: str) -> list[str]:
    """The calls of a page, one a shell command; what has no end gets one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [
        block
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if "curl" in block
    ]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [line.partition("  #")[0] for line in lines if line.startswith("curl")]
    return [line.replace("curl -N", "curl -N --max-time 3") for line in found]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is a package of its own")
@pytest.mark.parametrize("page", PAGES)
def test_every_call_of_the_page_works_as_it_stands(redis_url: str, tmp_path: Path, page: str) -> None:
    with simulator(tmp_path / "simulator.log") as provider:
        env = environment(redis_url, provider.api_url)
        with gateway(env, tmp_path / "gateway.log") as running, worker(env, tmp_path / "worker.log"):
            port = urlsplit(running.url).port
            said = {}
            for command in commands(page):
                here = command.replace("localhost:8080", f"localhost:{port}")
                done = subprocess.run(
                    ["bash", "-c", here], capture_output=True, text=True, timeout=70, check=False
                )
                said[command] = done.stdout
                # 28: it was still open when its time was over.
                assert done.returncode in (0, 28), done.stderr

    texts = list(said.values())
    assert len(texts) >= 3
    assert json.loads(texts[0])["state"] == "waiting"
    assert json.loads(texts[1])["state"] == "succeeded"
    assert texts[2].startswith("id: ")
