"""PURE: which URLs a webhook may have."""

from urllib.parse import urlsplit

MAX_URL_CHARS = 2_000


def check_webhook_url(url: str) -> str:
    """Return the URL. Raises ValueError for one that no delivery may go to."""
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"is not a URL: at most {MAX_URL_CHARS} ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if parts.scheme != "https":
        raise ValueError("must begin with https://: the outcome names machines and people")
    if not parts.hostname or port == 0:
        raise ValueError("names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or password: deliveries are signed")
    if parts.fragment:
        raise ValueError("has a part after #, which is never sent: remove it")
    return url


def origin_of(url: str) -> str:
    """Return scheme, host and port: the rest may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
