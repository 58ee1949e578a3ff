"""The Celery application. Queues: `jobs` (long, change hosts), `emergency` (promote, fence: one worker takes nothing else), `plans`
(read hosts for a person who waits), `observe`, `notify`.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgpanel.settings")

app = Celery("pgpanel")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "sweep-lost-jobs": {"task": "jobs.tasks.sweep_lost_jobs", "schedule": 2.0, "options": {"expires": 4}},
    "forget-expired": {"task": "jobs.expiry.forget_expired", "schedule": 3600.0, "options": {"expires": 3000}},
    "forget-typed-passwords": {"task": "clusters.tasks.forget_typed_passwords", "schedule": 600.0, "options": {"expires": 300}},
    "sweep-webhooks": {"task": "webhooks.tasks.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "forget-old-webhooks": {"task": "webhooks.tasks.forget_old", "schedule": 3600.0, "options": {"expires": 3000}},
    "verify-audit-trail": {"task": "accounts.tasks.verify_audit", "schedule": 900.0, "options": {"expires": 600}},
    "send-notices": {"task": "monitor.tasks.send_notices", "schedule": 3.0, "options": {"expires": 3}},
    "watch-panel": {"task": "monitor.tasks.watch_panel", "schedule": 10.0, "options": {"expires": 10}},
    "forget-old-messages": {"task": "monitor.tasks.forget_old_messages", "schedule": 3600.0, "options": {"expires": 3000}},
    "ensure-collector": {"task": "monitor.tasks.ensure_collector", "schedule": 5.0, "options": {"expires": 5}},
}

AWAY_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0, "socket_connect_timeout": 2}
"""`transport_options` where somebody waits: a broker that is away is said at once, not after retries. Sweeps repeat the rest."""


@worker_init.connect
@beat_init.connect
def refuse_unsafe_start(**_sender: Any) -> None:
    from pgpanel.checks import refuse_unsafe_start as refuse  # noqa: PLC0415 — settings are not loaded yet when this module is

    refuse()
