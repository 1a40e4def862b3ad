"""Cookies of browsers that have signed in: any gateway of the ledger recognizes them, and none keeps them."""

import hashlib
import hmac
import re
import secrets

from aiohttp import web

from tasks.ledger.ledger import Ledger

COOKIE = "scaleout_session"
LASTS_S = 12 * 3_600
FORMAT = re.compile(r"^([A-Za-z0-9._-]{1,64})~(\d{1,12})~([0-9a-f]{64})$")
SECRET_BYTES = 32


class Sessions:
    """Makes and checks cookies. One is over with its time, and when its client's token changes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def start(self, name: str, token_sha256: str) -> str:
        """Return the cookie of a client, from now on."""
        until = self._ledger.clock.now_ms() // 1000 + LASTS_S
        return f"{name}~{until}~{await self._proof(name, until, token_sha256)}"

    def name_in(self, cookie: str) -> str | None:
        """Return the client that a cookie claims to be of; None for what is none, or is over."""
        match = FORMAT.match(cookie)
        if match is None or int(match.group(2)) <= self._ledger.clock.now_ms() // 1000:
            return None
        return match.group(1)

    async def is_of(self, cookie: str, token_sha256: str) -> bool:
        """Return whether a gateway has given this cookie to the client with this token."""
        match = FORMAT.match(cookie)
        if match is None:
            return False
        name, until, proof = match.groups()
        return hmac.compare_digest(proof, await self._proof(name, int(until), token_sha256))

    async def _proof(self, name: str, until: int, token_sha256: str) -> str:
        redis, key = self._ledger.redis, self._ledger.keys.gateway_secret
        secret = await redis.get(key)
        if secret is None:
            await redis.set(key, secrets.token_hex(SECRET_BYTES), nx=True)
            secret = await redis.get(key)
        return hmac.new(
            str(secret).encode(), f"{name} {until} {token_sha256}".encode(), hashlib.sha256
        ).hexdigest()


def set_cookie(response: web.StreamResponse, request: web.Request, value: str) -> None:
    """`Secure` where the browser came by https, also to a proxy in front of this process."""
    secure = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    response.set_cookie(
        COOKIE, value, max_age=LASTS_S, path="/", httponly=True, samesite="Strict", secure=secure
    )
