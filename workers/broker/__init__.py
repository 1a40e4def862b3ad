"""Celery's broker on Redis: transport, consumer, dead letters. Imports tasks.ledger and config."""
