"""What would let an operator run programs of his own on hosts: commands around a switchover, settings that name a program.

An administrator of the cluster sets these; an operator runs the commands that were set. (`manage.py`, on the panel's own machine,
is nobody's and may all.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import may
from jobs.models import Job
from jobs.recipe import ParamsError

WHEN = ("before", "after")
NAMING = ("_command", "_library", "_libraries", "_path", "_directory", "_directories", "_file", "_filename", "_provider", "_init",
          "_proc")  # fmt: skip
"""How settings end whose value is a program, a library, a place for files, or code of an extension: `ssl_passphrase_command`,
`shared_preload_libraries`, `dynamic_library_path`, `log_directory`, `plperl.on_init`. What ends so and is harmless is an
administrator's too: rather one too many."""


def refuse_unset(cluster: Cluster, kind_name: str, params: Mapping[str, Any], by: User | None) -> None:
    """`ParamsError` where `by` is no administrator and asks for what only one may set."""
    if by is None or may(by, "administrator", cluster):
        return
    if kind_name == "set_parameter" and str(params.get("name", "")).strip().lower().endswith(NAMING):
        raise ParamsError(
            "name", _("it names a program, a library or files of the host"), _("an administrator of the cluster sets it")
        )
    asked = list(_commands(params))
    known = _set_by_administrators(cluster, kind_name) if asked else set()
    for field, when, command in asked:
        if (when, command) not in known:
            raise ParamsError(
                field, _("no administrator has set this command: %(command)s") % {"command": command},
                _("leave it out, or have an administrator of the cluster plan it once; from then on operators may run it"),
            )  # fmt: skip


def _commands(params: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(field, when, command), of what has the form of one; the kind itself refuses the rest."""
    for when in WHEN:
        rows = params.get(when)
        for number, row in enumerate(rows if isinstance(rows, list | tuple) else ()):
            if isinstance(row, Mapping) and isinstance(row.get("command"), str):
                yield f"{when}[{number}]", when, row["command"].strip()


def _set_by_administrators(cluster: Cluster, kind_name: str) -> set[tuple[str, str]]:
    """Of every plan that somebody made who is administrator there now: with the role go the commands."""
    found, trusted = set(), {}
    for job in Job.objects.filter(cluster=cluster, kind=kind_name).select_related("planned_by").defer("plan"):
        if job.planned_by_id not in trusted:
            trusted[job.planned_by_id] = job.planned_by is None or may(job.planned_by, "administrator", cluster)
        if trusted[job.planned_by_id]:
            found |= {(when, command) for _field, when, command in _commands(job.params)}
    return found
