"""A compressed body is read to a limit, whatever it decompresses to."""

import bz2
import lzma
import zlib
from collections.abc import Callable

import pytest
from kombu import compression

from workers.broker.compression import MAX_BODY, bound_decompression

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
}


@pytest.fixture(autouse=True)
def _bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_decoders", dict(compression._decoders))
    bound_decompression()


@pytest.mark.parametrize("content_type", COMPRESS)
def test_a_body_up_to_the_limit_is_read(content_type: str) -> None:
    body = b"x" * MAX_BODY

    assert compression.decompress(COMPRESS[content_type](body), content_type) == body


@pytest.mark.parametrize("content_type", COMPRESS)
def test_a_larger_body_is_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        compression.decompress(COMPRESS[content_type](b"x" * (MAX_BODY + 1)), content_type)


@pytest.mark.parametrize("content_type", COMPRESS)
def test_a_body_that_is_cut_off_is_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="ends too early"):
        compression.decompress(COMPRESS[content_type](b"some text" * 99)[:-9], content_type)


def test_aliases_lead_to_the_bounded_decoders_too() -> None:
    with pytest.raises(ValueError, match="more than"):
        compression.decompress(zlib.compress(b"x" * (MAX_BODY + 1)), "gzip")
