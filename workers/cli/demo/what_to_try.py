"""What to do with a demo that keeps running."""

import sys
from collections.abc import Mapping
from pathlib import Path

EXPORTED = ("REDIS_URL", "API_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "POLICY_FILE")
TEXT = """
Everything keeps running until Ctrl-C.

page                 {page}/
metrics, ledger      {page}/metrics
metrics, worker      http://127.0.0.1:{metrics}/metrics

In another shell:

{exports}

{scaleout} submit --cluster ehpc-mine0001 --zone jn1a --nodes 3 --wait
{scaleout} list --ended
{scaleout} workers
{scaleout} doctor --zone jn1a

# the next addNodes call is executed, and its reply lost: watch how that is decided
curl -X POST {simulator}/_sim/faults -d '{{"kind": "drop", "made": true}}'
{scaleout} submit --cluster ehpc-mine0001 --zone jn1a --nodes 2 --request-id lost-reply
{scaleout} status lost-reply
{scaleout} history lost-reply
"""


def what_to_try(env: Mapping[str, str], simulator_url: str, page: str) -> list[str]:
    """Return lines to paste. `env`: the worker's environment; `page`: the gateway's address."""
    exports = "\n".join(f"export SCALEOUT_{name}={env[f'SCALEOUT_{name}']}" for name in EXPORTED)
    scaleout = Path(sys.argv[0]).resolve() if Path(sys.argv[0]).name == "scaleout" else "scaleout"
    return TEXT.format(
        exports=exports,
        scaleout=scaleout,
        simulator=simulator_url,
        page=page,
        metrics=env["SCALEOUT_METRICS_PORT"],
    ).splitlines()
