"""PURE: what it means that the provider blocks the account. Times in ms."""

from config.timestamps import timestamp
from tasks.ledger.records import Account


def describe(account: Account) -> str:
    """Return in a sentence until when nothing is sent for a blocked account, and why."""
    detail = "" if account.reason is None else f": {account.reason.message}"
    return f"the provider blocks the account, next attempt at {timestamp(account.not_before)}{detail}"
