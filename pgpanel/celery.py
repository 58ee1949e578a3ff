"""The Celery application. Queues: `jobs` (long, change hosts), `plans` (read hosts for a person who waits), `observe`, `notify`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgpanel.settings")

app = Celery("pgpanel")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
