"""The registry of job kinds: an explicit table; a test fails when a kind has no how-to page and no plan case."""

from __future__ import annotations

from jobs.kinds import base_backup, control, setup
from jobs.recipe import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        setup.KIND,
        setup.ADD_STANDBY,
        base_backup.KIND,
        control.START,
        control.STOP,
        control.RESTART,
        control.RELOAD,
    )
}
