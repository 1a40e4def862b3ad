"""The processes: Celery app, command line, simulator. Imports tasks and config."""

from workers.own_packages import check

check()
