"""The panel's own Celery application with the tests' small kind in its registry: `celery -A engine_app worker`."""

from small_kind import KIND

from jobs.kinds import KINDS
from pgpanel.celery import app

KINDS["small"] = KIND

__all__ = ["app"]
