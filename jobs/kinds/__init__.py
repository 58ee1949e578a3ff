"""The registry of job kinds: an explicit table; a test fails when a kind has no how-to page and no plan case."""

from __future__ import annotations

from jobs.kinds import (
    base_backup,
    control,
    fence,
    forget_old,
    promote,
    rebuild,
    rehearse,
    remove_standby,
    repair,
    repoint,
    rotate_password,
    set_parameter,
    setup,
    switchover,
    undo_rebuild,
)
from jobs.recipe import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        setup.KIND,
        setup.ADD_STANDBY,
        base_backup.KIND,
        switchover.KIND,
        rehearse.KIND,
        promote.KIND,
        fence.KIND,
        rebuild.KIND,
        undo_rebuild.KIND,
        forget_old.KIND,
        repoint.KIND,
        remove_standby.KIND,
        control.START,
        control.STOP,
        control.RESTART,
        control.RELOAD,
        set_parameter.KIND,
        rotate_password.KIND,
        repair.KIND,
    )
}
