"""The Celery tasks and all that they do. Imports config; never workers."""
