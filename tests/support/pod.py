"""A container of a manifest as a process that is confined as its pod would be, without cluster and image.

It has a root of its own, read-only, and can write only to the volumes that the manifest has for that. It is
process 1 of its own process namespace, and has the pod's user and groups, no capabilities and no way to them.
What a kubelet does and this does not: seccomp, memory limits, a network of its own.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, Process

# What an image has: programs and libraries of the system, the interpreter, and the environment with our code.
SYSTEM = ("usr", "bin", "sbin", "lib", "lib64")
PROGRAMS = ROOT / ".venv/bin"
PATH = f"{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOPPED_S = 10.0


def can_confine() -> bool:
    """Whether this user may make namespaces and mounts here."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    trial = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False, timeout=20).returncode == 0


@dataclass(frozen=True)
class Pod:
    """The only container of a pod.

    Fields:
        spec: of the pod, as in the manifest.
        volumes: by volume name, the folder with its files; of secrets and config maps.
        more: variables beside the manifest's, as an overlay would add them; they replace its own.
    """

    spec: Mapping[str, Any]
    volumes: Mapping[str, Path]
    more: Mapping[str, str]

    @property
    def container(self) -> Mapping[str, Any]:
        (only,) = self.spec["containers"]
        return dict(only)

    def environment(self) -> dict[str, str]:
        given = {one["name"]: one["value"] for one in self.container["env"]}
        return {"PATH": PATH, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **given, **self.more}

    def confined(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs as the container's user, without rights."""
        user = self.spec["securityContext"]
        assert user["runAsNonRoot"], user
        context = self.container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}, context
        assert context["allowPrivilegeEscalation"] is False, context
        words = ["setpriv", f"--reuid={user['runAsUser']}", f"--regid={user['runAsGroup']}"]
        words += [f"--groups={user['fsGroup']}", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return [*words, "--", *command]

    def script(self, root: Path) -> str:
        """Return the shell script that makes the pod's root at `root` and starts the container in it."""
        lines = ["set -e", f"mount -t tmpfs -o mode=0755 tmpfs {root}", f"cd {root}"]
        lines.append("mkdir -p proc dev etc tmp run var")
        for name in SYSTEM:
            place = Path("/", name)
            if place.is_symlink():
                lines.append(f"ln -s {place.readlink()} {name}")
            elif place.is_dir():
                lines += _bound(place, name)
        lines += ["cp /etc/passwd /etc/group /etc/hosts /etc/nsswitch.conf /etc/ld.so.cache etc/"]
        lines += _bound(Path("/dev"), "dev")
        # Before what is bound below, which may be in /tmp here.
        for mount in self.container["volumeMounts"]:
            lines += self._mounted(mount)
        for place in dict.fromkeys((ROOT, Path(sys.base_prefix))):
            if not any(place.is_relative_to(f"/{name}") for name in SYSTEM):
                lines += _bound(place, str(place).lstrip("/"))
        assert self.container["securityContext"]["readOnlyRootFilesystem"] is True
        lines += ["mount -t proc -o ro proc proc", "mount -o remount,ro .", f'exec chroot {root} "$@"']
        return "\n".join(lines)

    def _mounted(self, mount: Mapping[str, Any]) -> list[str]:
        (volume,) = (one for one in self.spec["volumes"] if one["name"] == mount["name"])
        place = str(mount["mountPath"]).lstrip("/")
        group = self.spec["securityContext"]["fsGroup"]
        if "emptyDir" in volume:
            size = str(volume["emptyDir"]["sizeLimit"]).removesuffix("i").lower()
            return [f"mkdir -p {place}", f"mount -t tmpfs -o size={size},mode=2777,gid={group} tmpfs {place}"]
        assert mount["readOnly"] is True, mount
        return _bound(self.volumes[mount["name"]], place)

    def write(self, name: str, files: Mapping[str, str], generation: str = "..1") -> None:
        """Write a volume's files as a kubelet does: all of them change at once, by one symbolic link."""
        (volume,) = (one for one in self.spec["volumes"] if one["name"] == name)
        mode = volume.get("secret", {}).get("defaultMode", 0o644)
        folder = self.volumes[name]
        (folder / generation).mkdir(parents=True)
        for file, text in files.items():
            path = folder / generation / file
            path.write_text(text, encoding="utf-8")
            os.chown(path, 0, self.spec["securityContext"]["fsGroup"])
            path.chmod(mode)
            if not (folder / file).is_symlink():
                (folder / file).symlink_to(f"..data/{file}")
        (folder / "..new").symlink_to(generation)
        (folder / "..new").rename(folder / "..data")


def _bound(place: Path, there: str) -> list[str]:
    return [f"mkdir -p {there}", f"mount --bind {place} {there}", f"mount -o remount,bind,ro {there}"]


@dataclass(frozen=True)
class Running:
    """A started container. `pid`: of its process 1, as this machine sees it."""

    pod: Pod
    process: Process
    pid: int

    def run(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as an exec probe would; it is confined in the same way."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*inside, *self.pod.confined(command)],
            env=self.pod.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def probe(self, name: str) -> str:
        """Probe it once as the manifest says. Returns what failed; empty if nothing did."""
        probe = self.pod.container[name]
        timeout_s = float(probe.get("timeoutSeconds", 1))
        if "exec" in probe:
            try:
                done = self.run(probe["exec"]["command"], timeout_s)
            except subprocess.TimeoutExpired:
                return f"{name}: no answer within {timeout_s:g} s"
            return "" if done.returncode == 0 else f"{name}: {done.returncode} {done.stdout}{done.stderr}"
        (port,) = (
            one["containerPort"]
            for one in self.pod.container["ports"]
            if one["name"] == probe["httpGet"]["port"]
        )
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}{probe['httpGet']['path']}", timeout=timeout_s
            ) as answer:
                return "" if answer.status < 400 else f"{name}: {answer.status}"
        except OSError as error:
            return f"{name}: {error}"

    def started(self) -> None:
        """Wait as long as the startup probe lets it. Raises AssertionError after that."""
        probe = self.pod.container["startupProbe"]
        failed = ""
        for _ in range(probe["failureThreshold"]):
            if not (failed := self.probe("startupProbe")):
                return
            assert self.process.alive(), self.process.last_lines()
            time.sleep(probe["periodSeconds"])
        raise AssertionError(f"{failed}\n{self.process.last_lines()}")

    def status(self) -> dict[str, str]:
        """Return the lines of /proc of its process 1."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}

    def writable(self) -> set[str]:
        """Return the mounts that are not read-only, of those that its root has."""
        rows = Path(f"/proc/{self.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        return {row.split()[4] for row in rows if "ro" not in row.split()[5].split(",")}

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM to its process 1; return its exit code, and after how many seconds it ended."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.popen.wait(self.pod.spec["terminationGracePeriodSeconds"])
        return code, time.monotonic() - began


@contextmanager
def running(pod: Pod, folder: Path) -> Iterator[Running]:
    """Run a pod's container with the manifest's command; `folder` gets its root and its log."""
    root, log = folder / "root", folder / "log"
    root.mkdir(parents=True)
    command = [*pod.container.get("command", ()), *pod.container["args"]]
    inside = ["sh", "-c", pod.script(root), "sh", *pod.confined(command)]
    with log.open("wb") as output:
        popen = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "--pid", "--fork", *inside],
            env=pod.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    process = Process(pod.container["name"], popen, log)
    pid = _child_of(popen)
    try:
        yield Running(pod, process, pid)
    finally:
        # All others of its namespace die with its process 1. That does not die with unshare, because it has
        # changed its user since.
        if popen.poll() is None:
            os.kill(pid, signal.SIGKILL)
        popen.wait(STOPPED_S)


def _child_of(parent: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + STOPPED_S
    while time.monotonic() < deadline:
        if found := children.read_text(encoding="ascii").split():
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("unshare has started no process")
