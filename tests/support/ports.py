"""Ports that stay ours while no process listens on them."""

import random
import socket

# Below the kernel's own range: from there an outgoing connection could take the port of a server that is
# down, and a client that tries again and again could even be connected to itself.
FIRST, LAST = 20_000, 29_999
ATTEMPTS = 100


def free_port() -> int:
    """A port of loopback without a listener. Raises OSError if none is found."""
    for _ in range(ATTEMPTS):
        port = random.SystemRandom().randint(FIRST, LAST)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {FIRST} and {LAST} was found in {ATTEMPTS} attempts")
