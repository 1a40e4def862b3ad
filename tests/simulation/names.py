"""Names that would be drawn from the system's randomness come from a seed: a history repeats itself."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    rng = random.Random(f"names {seed}")

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=rng.getrandbits(128), version=4)

    def token_hex(nbytes: int = 32) -> str:
        return rng.randbytes(nbytes).hex()

    with mock.patch("uuid.uuid4", uuid4), mock.patch("secrets.token_hex", token_hex):
        yield
