"""A Django project whose periodic task, kept in its database, sends a request every two seconds."""

import json
import os
import sys
from pathlib import Path

import django
from celery import Celery

# Settings of Django.
SECRET_KEY = "of no use here"
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE = Path(__file__).with_name("db.sqlite3")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}}

os.environ["DJANGO_SETTINGS_MODULE"] = "project"
app = Celery("project", broker=os.environ["PRODUCER_URL"], backend=os.environ["PRODUCER_URL"])
app.conf.task_default_queue = "project"
app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
app.conf.beat_max_loop_interval = 1


def prepare() -> None:
    """Make the database, and the periodic task in it."""
    django.setup()
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    call_command("migrate", verbosity=0)
    schedule = IntervalSchedule.objects.create(every=2, period=IntervalSchedule.SECONDS)
    request = {"cluster_id": "ehpc-django01", "zone": "jn1a", "node_count": 1, "requested_by": "django"}
    sent = {"task": "scaleout.add_nodes", "queue": "scaleout", "kwargs": json.dumps(request)}
    PeriodicTask.objects.create(name="nodes", interval=schedule, **sent)


if __name__ == "__main__":
    sys.modules["project"] = sys.modules["__main__"]
    prepare()
