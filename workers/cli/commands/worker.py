"""`scaleout worker`."""

import os
import sys
from collections.abc import Sequence

from config.settings import Settings, load
from tasks.contract.policy_file import read_policy

# -P keeps the folder's own packages away.
WORKER = ("-P", "-m", "workers")


def become_worker(arguments: Sequence[str]) -> None:
    """Replace this process by the worker, so that signals and the exit code are the worker's own.

    Raises:
        SettingsError, PolicyError: the worker could not start with them.
    """
    settings = load(Settings)
    if settings.policy_file is not None:
        read_policy(settings.policy_file)
    os.execv(sys.executable, [sys.executable, *WORKER, *arguments])  # noqa: S606 - our own interpreter
