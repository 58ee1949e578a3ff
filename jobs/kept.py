"""Old data directories that rebuilds have put aside: which node has one, how big, until when. From rows; no host is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clusters.models import Cluster, NodeState
from jobs.brief import job_name
from jobs.models import Job
from remote.rows import number

KIND = "rebuild"
ENDS = ("undo_rebuild", "forget_old")
NOTE = "kept"
"""What the host wrote beside the directory (`job=… kept_at=… until=… bytes=…`), kept with the job's notes."""


@dataclass(frozen=True)
class KeptOld:
    """size_bytes: None = not known. until: by the host's clock."""

    node: str
    job: Job
    until: datetime
    size_bytes: int | None

    @property
    def is_expired(self) -> bool:
        return self.until <= datetime.now(UTC)


def kept_in(cluster: Cluster) -> list[KeptOld]:
    """The newest of each node that was neither put back nor deleted since."""
    found: dict[str, KeptOld] = {}
    gone: set[str] = set()
    done = (
        Job.objects.filter(cluster=cluster, kind__in=(KIND, *ENDS), status=Job.Status.SUCCEEDED).defer("plan").order_by("-ended_at")
    )
    for job in done:
        node = str(job.params.get("node", ""))
        if job.kind in ENDS:
            gone.add(node)
        elif node not in gone and node not in found:
            found[node] = _kept(node, job)
    return list(found.values())


def _kept(node: str, job: Job) -> KeptOld:
    said = dict(line.partition("=")[::2] for line in job.notes.get(NOTE, "").splitlines())
    ended = job.ended_at or datetime.now(UTC)
    # a host may have written anything there: no moment after the year 5000, no number that no disk holds
    until = min(number(said.get("until", "")), 10**11)
    kept_until = datetime.fromtimestamp(until, UTC) if until > 0 else ended + timedelta(days=int(job.params.get("keep_days", 7)))
    size = number(said.get("bytes", ""), -1)
    return KeptOld(node, job, kept_until, size if size >= 0 else None)


def note_kept(sender: Any, job_id: int, kind: str, **_more: Any) -> None:  # noqa: ARG001
    """A rebuild has ended: what its last look read beside the old directory stays with it (later looks do not ask for it)."""
    if kind != KIND:
        return
    job = Job.objects.select_related("cluster").get(pk=job_id)
    state = NodeState.objects.filter(node__cluster=job.cluster, node__name=job.params.get("node", "")).first()
    paths: dict[str, dict[str, Any]] = (state.facts.get("paths") or {}) if state else {}
    texts = [found.get("text") or "" for path, found in paths.items() if path.endswith(f".old-{job_name(job)}/pgpanel.old")]
    if texts and texts[0]:
        Job.objects.filter(pk=job_id).update(notes=job.notes | {NOTE: texts[0]})
