"""Requests as lines of JSON on stdin."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any


async def requests_from_stdin() -> AsyncIterator[dict[str, Any]]:
    """Until stdin is closed."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)
