"""Each line that `scaleout doctor` can say has its row on the page."""

import re
from pathlib import Path

from tasks.ledger.server_options import NEEDED

ROOT = Path(__file__).resolve().parents[2]
DOCTOR = ("doctor.py", "doctor_broker.py", "doctor_server.py", "doctor_requests.py", "doctor_webhooks.py")


def test_every_check_of_doctor_is_on_the_troubleshooting_page() -> None:
    folder = ROOT / "workers/cli/commands"
    code = "".join((folder / name).read_text(encoding="utf-8") for name in DOCTOR)
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")

    said = {text.split(" {")[0] for text in re.findall(r'(?:Finding\(|check = )\s*f?"([^"]+)"', code)}
    first_cells = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    rows = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}

    said |= set(NEEDED)
    assert {"held", "breaker", "workers alive", "data loss"} <= said
    assert {name for name in said if name not in rows and not name.startswith("queue")} == set()
