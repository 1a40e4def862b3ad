"""Alerts and the dashboard use metrics that exist; every alert has its section, and fires when it should."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tasks.metrics.families import FAMILIES
from tasks.runtime.process_metrics import DESCRIBED
from tests.support.processes import ROOT

FOLDER = ROOT / "deploy/prometheus"
PAGE = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
METRIC = re.compile(r"\bscaleout_[a-z_]+")
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is in Debian's package prometheus")


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def known() -> set[str]:
    names = {family.name for family in FAMILIES}
    for one in DESCRIBED:
        parts = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        names |= {f"{one.name}{part}" for part in parts}
    return names


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/scaleout.json").read_text(encoding="utf-8"))
    texts = [rule["expr"] for rule in rules()]
    texts += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

    assert {name for text in texts for name in METRIC.findall(text)} <= known()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_alert_has_its_section_and_two_tests() -> None:
    sections = {title.lower() for title in re.findall(r"^### (Scaleout\w+)$", PAGE, re.MULTILINE)}
    names = [rule["alert"] for rule in rules()]
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    tried = [
        (alert["alertname"], bool(alert["exp_alerts"])) for test in tests for alert in test["alert_rule_test"]
    ]

    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in rules()} == sections
    assert sorted(tried) == sorted((name, fires) for name in names for fires in (True, False))


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    for arguments in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            [str(PROMTOOL), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
