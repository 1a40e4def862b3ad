"""The units of deploy/systemd: by systemd's own checks, and as processes confined as they say."""

import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from celery import Celery

from tests.support.durable_server import durable_server
from tests.support.pod import PROGRAMS, Pod, Running, can_confine, running
from tests.support.ports import free_port
from tests.support.processes import ACCESS_KEY_ID, ROOT, SECRET_ACCESS_KEY, eventually, simulator
from tests.support.systemd_unit import Unit

FOLDER = ROOT / "deploy/systemd"
UNITS = ("scaleout-worker@.service", "scaleout-gateway.service")
EXPOSURE = 20  # of 100, as systemd counts it

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyzed(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_reads_every_line_and_calls_it_confined(name: str, tmp_path: Path) -> None:
    # The programs have to be there for that; a template is checked by an instance.
    copy = tmp_path / name.replace("@.", "@1.")
    text = (FOLDER / name).read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/scaleout/bin", str(PROGRAMS)).replace("/opt/scaleout", str(ROOT)))
    verified = analyzed("verify", "--man=no", "--generators=no", copy)
    secure = analyzed("security", "--offline=true", f"--threshold={EXPOSURE}", copy)

    assert (verified.returncode, verified.stderr) == (0, "")
    assert secure.returncode == 0, secure.stdout


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(not can_confine(), reason="only root may make these namespaces and mounts")
def test_both_units_work_within_what_they_allow_themselves(tmp_path: Path) -> None:
    port = free_port()
    with durable_server(tmp_path / "server") as server, simulator(tmp_path / "simulator.log") as provider:
        # As /etc/scaleout/environment would have it.
        more = {
            "SCALEOUT_REDIS_URL": server.url,
            "SCALEOUT_API_URL": provider.api_url,
            "SCALEOUT_POLL_INTERVAL_S": "1",
            "SCALEOUT_GATEWAY_PORT": str(port),
        }
        worker = service(UNITS[0], tmp_path / "worker", more)
        gateway = service(UNITS[1], tmp_path / "gateway", more)
        with (
            running(worker, tmp_path / "worker/run") as one,
            running(gateway, tmp_path / "gateway/run") as two,
        ):
            eventually(lambda: " ready." in one.process.text() or not one.process.alive(), "it starts")
            eventually(lambda: '"url"' in two.process.text() or not two.process.alive(), "it starts")
            assert one.process.alive(), one.process.last_lines()
            assert two.process.alive(), two.process.last_lines()
            assert_restricted(one)
            assert_restricted(two)
            with Celery(broker=server.url, backend=server.url) as producer:
                fields = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 3}
                sent = producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")
                assert sent.get(timeout=60)["nodes_added"] == 3
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/requests/r-1", timeout=10) as answer:
                assert answer.status == 200
            # The file by which later workers of the host know the last step.
            assert one.run(["sh", "-c", "ls /var/lib/scaleout/*"], 10).stdout != ""
            for container in (two, one):
                code, after_s = container.terminate()
                assert code == 0, container.process.last_lines()
                assert after_s < container.pod.spec["terminationGracePeriodSeconds"] / 2


def service(name: str, folder: Path, more: dict[str, str]) -> Pod:
    unit = Unit(FOLDER / name)
    volumes = {"credentials": folder / "credentials", "installation": ROOT / ".venv"}
    made = Pod(unit.pod(), volumes, more)
    keys = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}
    assert unit.credentials() == keys.keys()
    made.write("credentials", keys)
    return made


def assert_restricted(service: Running) -> None:
    status = service.status()
    assert status["Uid"] == "10001 10001 10001 10001"
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    # By a filter.
    assert status["Seccomp"] == "2"
    assert service.writable() == {"/tmp", "/var/lib/scaleout"}
