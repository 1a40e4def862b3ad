"""The GitHub workflow, without GitHub: by its published schema, and against what it runs."""

import re
import subprocess
import sys

import yaml

from tests.support.processes import ROOT

PATH = ROOT / ".github/workflows/check.yml"


def test_the_workflow_is_what_github_allows() -> None:
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*program, str(PATH)], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout


def test_every_action_is_pinned_and_every_target_exists() -> None:
    text = PATH.read_text(encoding="utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    targets = {word for step in steps if "run" in step for word in re.findall(r"make ([a-z-]+)", step["run"])}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
