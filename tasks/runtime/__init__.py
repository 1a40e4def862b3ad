"""Event loop thread, clock, timer and Redis client. Imports nothing else of tasks."""
