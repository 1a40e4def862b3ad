"""Durable records in Redis, one script per step. Imports limits, contract, runtime and config."""
