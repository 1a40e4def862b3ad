"""The processes: Celery app, command line, simulator. Imports tasks and config."""
