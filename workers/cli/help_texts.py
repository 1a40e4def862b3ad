"""The groups and examples of the commands in `--help`."""

from collections.abc import Mapping

REQUESTS = "Requests"
OPERATORS = "Operators"
POLICY = "Limits and schedules"
PROCESSES = "Processes"

PLACE = "--cluster ehpc-8jqdq0mz --zone jn1a"
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "submit": (
        f"scaleout submit {PLACE} --nodes 40 --wait",
        f"scaleout submit {PLACE} --nodes 250 --dry-run",
    ),
    "status": ("scaleout status simulation-4711", "scaleout status simulation-4711 -o wide"),
    "wait": ("scaleout wait simulation-4711 --timeout 10m",),
    "list": ("scaleout list --cluster ehpc-8jqdq0mz --watch", "scaleout list --ended --state failed -o wide"),
    "history": (
        "scaleout history simulation-4711",
        "scaleout history --cluster ehpc-8jqdq0mz --since 2h --status failed",
    ),
    "stats": ("scaleout stats --cluster ehpc-8jqdq0mz",),
    "cancel": ("scaleout cancel simulation-4711 --by ann",),
    "pause": (
        "scaleout pause --for 2h --extend-deadlines --reason maintenance",
        "scaleout pause --cluster ehpc-8jqdq0mz --reason 'disk full'",
    ),
    "resume": ("scaleout resume", "scaleout resume --cluster ehpc-8jqdq0mz"),
    "resolve": (
        "scaleout resolve simulation-4711",
        "scaleout resolve simulation-4711 --adopt j-k3v0d1 --reason 'in the console'",
        "scaleout resolve simulation-4711 --not-executed --yes",
    ),
    "quota": (
        "scaleout quota --json",
        "scaleout quota --plan --jobs 500 --clusters 40",
        "scaleout quota --plan --jobs 800 --clusters 9000 --nodes 20 --job-duration 10m",
    ),
    "workers": ("scaleout workers",),
    "doctor": (
        "scaleout doctor --zone jn1a",
        "scaleout doctor --acknowledge-data-loss --by ann --reason compared",
    ),
    "health": ("scaleout health --within 60",),
    "worker": ("scaleout worker --concurrency 8 --loglevel info",),
    "simulator": ("scaleout simulator --port 8090 --job-duration-s 20-60",),
    "demo": ("scaleout demo --keep",),
    "gateway token": ("scaleout gateway token simulations --role submit",),
    "check": ("scaleout policy check policy.toml",),
    "show": ("scaleout policy show --json",),
    "trigger": ("scaleout schedules trigger evening-batch --dry-run",),
    "ledger export": ("scaleout ledger export /backup/ledger-2026-11-25.jsonl",),
    "ledger import": ("scaleout ledger import /backup/ledger-2026-11-25.jsonl",),
    "webhooks list": ("scaleout webhooks list",),
    "webhooks test": ("scaleout webhooks test billing",),
    "webhooks replay": ("scaleout webhooks replay billing --since 2h",),
    "webhooks enable": ("scaleout webhooks enable billing",),
    "dead-letters list": ("scaleout dead-letters list",),
    "dead-letters show": ("scaleout dead-letters show 9f2c11ab",),
    "dead-letters requeue": ("scaleout dead-letters requeue 9f2c11ab",),
    "dead-letters clear": ("scaleout dead-letters clear --yes",),
}


def examples(command: str) -> str:
    """Return the text below a command's options, a line for each example."""
    lines = EXAMPLES[command]
    # Typer makes a line of each paragraph.
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
