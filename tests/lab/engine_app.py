"""The panel's own Celery application with the tests' small kind in its registry: `celery -A engine_app worker`."""

import os

from small_kind import KIND

from jobs.kinds import KINDS
from pgpanel.celery import app

KINDS["small"] = KIND
if "PGPANEL_TEST_FAULTS" in os.environ:
    import faults

    faults.arm()

__all__ = ["app"]
