"""Sends one request with Celery and nothing of ours, and prints its outcome; for Python 3.6 or newer."""

import json
import sys

from celery import Celery, __version__

url, request_id = sys.argv[1:]
producer = Celery(broker=url, backend=url)
request = {"request_id": request_id, "cluster_id": "ehpc-celery01", "zone": "jn1a", "node_count": 2}
result = producer.send_task("scaleout.add_nodes", kwargs=request, queue="scaleout")
outcome = result.get(timeout=60)
sys.stdout.write(json.dumps({"celery": __version__, "outcome": outcome}))
