"""Webhooks: what happened is told by signed HTTP calls, at least once, from the ledger."""
