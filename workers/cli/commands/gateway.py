"""`scaleout gateway`."""

import re
from typing import Literal

from config.settings import GatewaySettings, load
from workers.cli.exit_codes import Exit
from workers.cli.terminal import echo, print_json, refuse
from workers.gateway.clients import NAME, TokensError, new_token
from workers.gateway.serve import CannotServe, serve


def run_gateway() -> Exit:
    """Serve until the process is told to end. Exit code 2 if the settings do not allow it."""
    try:
        serve(load(GatewaySettings))
    except (CannotServe, TokensError) as error:
        echo(f"scaleout: {error}")
        return Exit.USAGE
    return Exit.SUCCEEDED


def print_token(name: str, role: Literal["read", "submit", "operate"], *, as_json: bool) -> Exit:
    if re.fullmatch(NAME, name) is None:
        problem = f"{name[:80]!r} is no name of a client: use letters, digits, dots and hyphens, at most 64"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    token, table = new_token(name, role)
    if as_json:
        print_json({"name": name, "role": role, "token": token, "table": table})
        return Exit.SUCCEEDED
    print(token)  # noqa: T201
    echo("It is shown this once. Add this to SCALEOUT_GATEWAY_TOKENS_FILE:")
    for line in table.splitlines():
        echo(line)
    return Exit.SUCCEEDED
