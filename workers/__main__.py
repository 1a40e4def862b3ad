"""`python -m workers`: the worker, in any folder."""

import sys

from celery.bin.celery import main

import workers.celery  # noqa: F401 - before Celery adds the folder, which may have packages of these names

if __name__ == "__main__":
    sys.argv = ["celery", "-A", "workers", "worker", *sys.argv[1:]]
    main()
