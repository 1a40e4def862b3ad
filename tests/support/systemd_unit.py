"""A systemd unit as a confined process, without systemd: what the unit sets, by means of the kernel alone.

Its root is read-only but for the state directory and /tmp. It has a user without capabilities, no memory that
can be written and executed, and only the system calls that the unit allows: another one ends it. Not done are
the restrictions of address families, namespaces, devices and /proc.
"""

import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

USER = 10001
CREDENTIALS = "/run/credentials/scaleout"


class Unit:
    """A service file. `instance`: what stands for %i."""

    def __init__(self, path: Path, instance: str = "1") -> None:
        text = path.read_text(encoding="utf-8")
        for there, here in (("%i", instance), ("%H", os.uname().nodename), ("%d", CREDENTIALS)):
            text = text.replace(there, here)
        rows = [line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#")]
        self.rows = [(name, value) for name, _, value in rows]

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.rows if key == name]

    def one(self, name: str) -> str:
        (only,) = self.every(name)
        return only

    @cached_property
    def system_calls(self) -> list[str]:
        """Names of the system calls that are allowed."""
        allowed = set[str]()
        for value in self.every("SystemCallFilter"):
            named = {call for group in value.removeprefix("~").split() for call in _calls_of(group)}
            allowed = allowed - named if value.startswith("~") else allowed | named
        return sorted(allowed)

    def pod(self) -> dict[str, Any]:
        """Return the unit as a pod's spec; its credentials and environment are volumes of these names."""
        assert self.one("ProtectSystem") == "strict"
        assert self.every("CapabilityBoundingSet") == self.every("AmbientCapabilities") == [""]
        assert self.one("MemoryDenyWriteExecute") == "true"
        place = f"--chdir={self.one('WorkingDirectory')}"
        restricted = [str(ROOT / ".venv/bin/python"), str(ROOT / "tests/support/restricted.py")]
        command = ["env", place, *restricted, ",".join(self.system_calls), *self.one("ExecStart").split()]
        read = {"readOnly": True}
        return {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
            },
            "terminationGracePeriodSeconds": int(self.one("TimeoutStopSec")),
            "containers": [
                {
                    "name": "unit",
                    "command": command,
                    "args": [],
                    "env": [
                        {"name": name, "value": value}
                        for each in self.every("Environment")
                        for name, _, value in [each.partition("=")]
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": self.one("NoNewPrivileges") != "true",
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "credentials", "mountPath": CREDENTIALS, **read},
                        {"name": "installation", "mountPath": "/opt/scaleout", **read},
                        {"name": "state", "mountPath": f"/var/lib/{self.one('StateDirectory')}"},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [
                {"name": "credentials", "secret": {"defaultMode": 0o440}},
                {"name": "installation", "hostPath": {}},
                {"name": "state", "emptyDir": {"sizeLimit": "64Mi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        }

    def credentials(self) -> set[str]:
        return {value.partition(":")[0] for value in self.every("LoadCredential")}


def _calls_of(group: str) -> set[str]:
    if not group.startswith("@"):
        return {group}
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True, timeout=20
    )
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    names = [word for word in words if word and not word.startswith("#")]
    return {call for name in names for call in _calls_of(name)}
