"""Decompress message bodies up to a limit: a few kilobytes may hold a gigabyte."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from kombu import compression

MAX_BODY = 1_048_576


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


# By content type, as kombu names them; every other one is refused.
BOUNDED: dict[str, Callable[[], _Decompressor]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lzma.LZMADecompressor,
}


def bound_decompression() -> None:
    """Replace kombu's decompressors in this process by bounded ones."""
    for content_type in compression.encoders():
        encode, _ = compression.get_encoder(content_type)
        make = BOUNDED.get(content_type)
        compression.register(encode, _refusal(content_type) if make is None else _bounded(make), content_type)


def _bounded(make: Callable[[], _Decompressor]) -> Callable[[bytes], bytes]:
    def decompress(body: bytes) -> bytes:
        decompressor = make()
        found = decompressor.decompress(body, MAX_BODY + 1)
        if len(found) > MAX_BODY:
            raise ValueError(f"the decompressed body has more than {MAX_BODY} bytes")
        if not decompressor.eof:
            raise ValueError("the compressed body ends too early")
        return found

    return decompress


def _refusal(content_type: str) -> Callable[[bytes], bytes]:
    def decompress(body: bytes) -> bytes:  # noqa: ARG001 - kombu's signature
        raise ValueError(f"compression {content_type} is not supported: use gzip, bzip2 or lzma")

    return decompress
