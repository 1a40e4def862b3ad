"""`python -m workers.simulator`, and what `scaleout simulator` runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from workers.simulator.options import SimulatorOptions
from workers.simulator.server import serve_forever

HELP = {
    "host": "address to listen on",
    "port": "0 for any that is free",
    "access_key_id": "key that callers have to use",
    "secret_access_key": "key that callers have to sign with",
    "quota_calls": "API calls in one period",
    "quota_period_s": "length of that period",
    "job_duration_s": "how long jobs take: 3, or 2-6 for any time between",
    "log_lag_s": "how late a job appears in the operation log",
    "latency_s": "added to every reply",
    "stock": "nodes that can be had in all; unlimited if left out",
    "node_ids_in_log": "never, ended or always",
    "signature_ttl_s": "how long a signature is accepted",
    "signed_path_slash": "true or false",
    "signature_encoded_twice": "true or false",
    "clock_skew_s": "how far the provider's clock is ahead",
    "seed": "for whatever is drawn by chance",
}


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def parse(arguments: Sequence[str]) -> SimulatorOptions:
    parser = argparse.ArgumentParser(prog="scaleout simulator", description="The EHPC API, simulated.")
    kinds: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: _boolean, int | None: int}
    for field in fields(SimulatorOptions):
        kind = kinds.get(field.type, str)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=field.default, help=f"{HELP[field.name]} (%(default)s)")
    parser.add_argument("--secret-access-key-file", type=Path, help="file that holds the key")
    given = vars(parser.parse_args(arguments))
    path: Path | None = given.pop("secret_access_key_file")
    try:
        if path is not None:
            given["secret_access_key"] = path.read_text(encoding="utf-8").strip()
        options = SimulatorOptions(**given)
        options.check()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments if arguments is not None else sys.argv[1:])
    try:
        serve_forever(options)
    except OSError as error:
        sys.exit(f"scaleout simulator: {error}")


if __name__ == "__main__":
    main()
