"""The same job as a good engineer would do it in an afternoon, and the least that Celery can do.

Each adds the nodes, polls its own job every interval, and writes an outcome: a key and an entry of a
stream. A lock keeps changes of one cluster apart. None of them survives what docs/promises.md promises.
"""
