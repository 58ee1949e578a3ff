"""What a change of roles tells of itself: `Job.report` (the incident page), and who began which timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clusters.models import Lineage
from jobs.brief import job_name
from jobs.claim import Claim
from jobs.models import Job
from jobs.recipe import Brief, Kind, World
from remote import lsn


def tell_before(claim: Claim, kind: Kind, params: Any, brief: Brief, world: World) -> None:
    """As it was found, before anything is changed."""
    report = getattr(kind, "report", None)
    if report is not None:
        keep(claim, report(params, brief, world))


def tell_after(claim: Claim, kind: Kind, params: Any, world: World) -> None:
    """What came of it so far: asked behind the point of no return, and again at the end."""
    closing = getattr(kind, "closing", None)
    if closing is not None:
        keep(claim, closing(params, world))
    job = Job.objects.select_related("cluster").get(pk=claim.job_id)
    if begun := job.report.get("timeline_after"):
        switch = lsn.parse_or_zero(str(job.report.get("switch_lsn", "")))
        values = {"node": params.candidate, "switch_lsn": switch, "job": job_name(job)}
        Lineage.objects.get_or_create(cluster=job.cluster, timeline=begun, defaults=values)


def keep(claim: Claim, found: Mapping[str, Any], timeline: Sequence[Mapping[str, str]] = ()) -> None:
    """Into the report, beside what earlier attempts and other steps have told. timeline: what is added to the one that is there."""
    if found or timeline:
        known = Job.objects.values_list("report", flat=True).get(pk=claim.job_id)
        more = {"timeline": [*known.get("timeline", ()), *timeline]} if timeline else {}
        claim.update(report={**known, **found, **more})
