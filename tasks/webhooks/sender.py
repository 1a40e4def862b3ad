"""One signed call of a webhook (Standard Webhooks, https://www.standardwebhooks.com)."""

import asyncio
import binascii
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

import aiohttp
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer
from yarl import URL

from config.policy.model import Webhook
from tasks.ledger.webhook_queues import Delivery
from tasks.webhooks.addresses import NotAllowed, is_literal, is_public, resolver_of
from tasks.webhooks.retries import Answer

TIMEOUT_S = 15.0
AT_ONCE = 32
SECRET = "whsec_"  # noqa: S105 - what every secret begins with
MAX_SECRET_BYTES = 1_000


class SecretProblem(ValueError):  # noqa: N818 - named by what it is
    """The secret cannot be used; the text says why and shows nothing of it."""


class Sender:
    """Posts deliveries. Open it in the event loop that uses it, and close it after use."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def send(self, webhook: Webhook, delivery: Delivery, now_ms: int) -> Answer:
        """Make one attempt. Whatever goes wrong is an answer without a status."""
        try:
            secret = read_secret(webhook.secret_file)
            headers = signed_headers(secret, delivery, now_ms)
        except SecretProblem as problem:
            return Answer(None, str(problem))
        url = URL(webhook.url, encoded=True)
        if not webhook.allow_private and is_literal(url.host) and not is_public(str(url.host)):
            return Answer(None, f"{url.host} is no public address: set allow_private = true if that is right")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async with self._session(webhook.allow_private).post(
                    url, data=delivery.body.encode(), headers=headers, allow_redirects=False
                ) as response:
                    retry_after_ms = _retry_after_ms(response.headers.get("Retry-After"), now_ms)
                    return Answer(response.status, retry_after_ms=retry_after_ms)
        except TimeoutError:
            return Answer(None, f"no answer within {TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _what(error))

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, allow_private: bool) -> aiohttp.ClientSession:
        if allow_private not in self._sessions:
            # Every connection is new, so that its address is looked at each time.
            connector = aiohttp.TCPConnector(
                limit=AT_ONCE,
                force_close=True,
                use_dns_cache=False,
                resolver=resolver_of(allow_private=allow_private),
            )
            self._sessions[allow_private] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"User-Agent": f"ehpc-scaleout/{version('ehpc-scaleout')}"},
            )
        return self._sessions[allow_private]


def read_secret(path: Path) -> str:
    """Return the secret in a file. Raises SecretProblem."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretProblem(f"secret_file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SecretProblem(f"secret_file {path} is not UTF-8") from None
    if not text.startswith(SECRET) or len(text) > MAX_SECRET_BYTES:
        raise SecretProblem(f"secret_file {path} does not hold a secret: it begins with {SECRET}")
    return text


def signed_headers(secret: str, delivery: Delivery, now_ms: int) -> dict[str, str]:
    """Return the headers of an attempt at `now_ms`. Raises SecretProblem."""
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    try:
        signature = Signer(secret).sign(delivery.message_id, at, delivery.body)
    except (binascii.Error, EmptyWebhookSecretError):
        raise SecretProblem("secret_file does not hold a secret: after whsec_ it is base64") from None
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(now_ms // 1000),
        "webhook-signature": signature,
    }


def _retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Return a `Retry-After` in ms (RFC 9110, 10.2.3: seconds, or a date); None if there is none."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return int(value.strip()[:9]) * 1000
    try:
        return max(0, round(parsedate_to_datetime(value).timestamp() * 1000) - now_ms)
    except (ValueError, TypeError, OverflowError):
        return None


def _what(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, NotAllowed):
        return str(cause)
    # The text of an error of aiohttp may hold the whole URL.
    detail = getattr(error, "strerror", None) or getattr(error, "os_error", None)
    return f"{type(error).__name__}: {detail}" if detail else type(error).__name__
