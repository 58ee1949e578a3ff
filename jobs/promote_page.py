"""The promote page: what is proven of the primary, who can take over and what that would lose, and the one safe thing to do next.

It works by plain form posts. Asking the hosts and planning are tasks; the page shows at once what is known and says how old it is.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_GET, require_POST

from clusters.evidence import PANEL, Observation
from clusters.models import Cluster
from clusters.observing import ClusterEvidence, evidence_of, evidence_refresh
from clusters.promises import promise_of
from clusters.services import cluster_or_404, may, paths_of
from jobs import services
from jobs.models import Job
from jobs.promote_ways import KIND, Choice, Way, choices_of
from jobs.recipe import ParamsError
from jobs.second_person import approval_of
from jobs.show import planned_steps, troubles
from jobs.stored import plan_from_json
from jobs.views import person, where_from
from remote.rows import number

FRESH_SECONDS = 8.0
"""Older evidence is gathered anew when somebody opens the page."""
PLAN_FRESH_SECONDS = 45
PLAN_KEPT = timedelta(minutes=10)
TONES = {"alive": "fine", "stopped_proven": "blind", "unreachable": "dead", "only_panel_blind": "blind", "cannot_tell": "unknown"}
WAYS = {
    "ssh": gettext_lazy("SSH"), "tcp": gettext_lazy("its port"), "sql": gettext_lazy("SQL"),
    "receiver": "", "fence": gettext_lazy("fence command"),
}  # fmt: skip
SAYS = {
    "alive": ("streaming", pgettext_lazy("hears the primary", "yes")),
    "stopped": ("broken", pgettext_lazy("hears the primary", "stopped")),
    "no-answer": ("broken", pgettext_lazy("hears the primary", "no")),
    "unknown": ("unknown", pgettext_lazy("hears the primary", "not known")),
}


@dataclass(frozen=True)
class Observer:
    """Everything that one observer says of the primary: its word first, then why."""

    name: str
    tone: str
    word: str
    rows: tuple[tuple[str, Observation, datetime], ...]


def observers(observations: tuple[Observation, ...]) -> list[Observer]:
    names = sorted({one.observer for one in observations}, key=lambda name: (name != PANEL, name))
    return [_observer(name, [one for one in observations if one.observer == name]) for name in names]


def _observer(name: str, said: list[Observation]) -> Observer:
    """An active answer counts before a receiver's belief; one that hears it before one that does not."""
    active = [one for one in said if one.by != "receiver"] or said
    order = ("alive", "stopped", "no-answer", "unknown")
    first = min(active, key=lambda one: (one.by == "tcp", order.index(one.says)))
    # a refused port says that nobody listens there; that nothing runs any more is only seen inside
    tone, word = SAYS["no-answer" if first.says == "stopped" and first.by not in ("ssh", "fence") else first.says]
    rows = tuple((str(WAYS[one.by]), one, datetime.fromtimestamp(one.at, UTC)) for one in said)
    return Observer(str(_("panel")) if name == PANEL else name, tone, str(word), rows)


class WayForm(forms.Form):
    """Which way, and the old primary's name where it is asked for."""

    candidate = forms.CharField(max_length=39)
    way = forms.CharField(max_length=20)
    typed = forms.CharField(max_length=60, required=False)


# -- pages -----------------------------------------------------------------------------------------------------------------------


@require_GET
def promote(request: HttpRequest, cluster_name: str) -> HttpResponse:
    cluster = cluster_or_404(person(request), cluster_name)
    found = evidence_of(cluster)
    if not found.is_asking and (found.age_seconds is None or found.age_seconds > FRESH_SECONDS):
        evidence_refresh(cluster)
        found = evidence_of(cluster)
    return _page(request, cluster, found, _planned(request, cluster))


@require_POST
def look(request: HttpRequest, cluster_name: str) -> HttpResponse:
    """Ask everybody again; no host is changed."""
    cluster = cluster_or_404(person(request), cluster_name)
    evidence_refresh(cluster, by_hand=True)
    return redirect("operations:promote", cluster.name)


@require_POST
def plan(request: HttpRequest, cluster_name: str) -> HttpResponse:
    """A plan for one way; the page then shows it, with the button that runs it."""
    cluster = cluster_or_404(person(request), cluster_name, "operator")
    found = evidence_of(cluster)
    form = WayForm(request.POST)
    way = _chosen(cluster, found, form) if form.is_valid() else None
    if way is None or found.primary is None:
        messages.warning(request, _("What is known has changed meanwhile: read it again."))
        return redirect("operations:promote", cluster.name)
    if way.typed_for and form.cleaned_data["typed"].strip() != found.primary.name:
        return _page(request, cluster, found, None, wrong=way)
    if job := _same_plan(request, cluster, way):
        return _to_plan(job)
    try:
        job = services.job_plan(cluster, KIND, way.params, person(request), where_from(request))
    except ParamsError as error:
        messages.error(request, str(error))
        return redirect("operations:promote", cluster.name)
    except services.BrokerAway as away:
        messages.warning(request, str(away))
        job = away.job
    return _to_plan(job)


def _to_plan(job: Job) -> HttpResponse:
    return redirect(f"{reverse('operations:promote', args=[job.cluster.name])}?job={job.pk}")


def _same_plan(request: HttpRequest, cluster: Cluster, way: Way) -> Job | None:
    """A page that is loaded again does not have the hosts looked at again for the same plan."""
    fresh = timezone.now() - timedelta(seconds=PLAN_FRESH_SECONDS)
    jobs = Job.objects.select_related("cluster").filter(
        cluster=cluster, kind=KIND, planned_by=person(request), created_at__gt=fresh,
        status__in=(Job.Status.PLANNING, Job.Status.PLANNED),
    )  # fmt: skip
    return next((job for job in jobs if _is_of(job, way)), None)


def _is_of(job: Job, way: Way) -> bool:
    """Are the job's parameters this way's?"""
    return {name: value for name, value in job.params.items() if name in way.params} == way.params


def _is_sure(found: ClusterEvidence, choices: list[Choice]) -> bool:
    """May the plan be made without a further click: fresh evidence, and a way that asks for no name?"""
    best = next((one for one in choices if one.candidate.is_best), None)
    is_fresh = not found.is_asking and found.age_seconds is not None and found.age_seconds < FRESH_SECONDS
    return bool(is_fresh and best and best.way and not best.way.typed_for)


def _chosen(cluster: Cluster, found: ClusterEvidence, form: WayForm) -> Way | None:
    wanted = form.cleaned_data["candidate"], form.cleaned_data["way"]
    return next(
        (way for choice in choices_of(cluster, found) for way in choice.ways if (way.candidate.name, way.name) == wanted), None
    )


def _planned(request: HttpRequest, cluster: Cluster) -> Job | None:
    """The plan that this page led to, as long as it is worth reading."""
    return Job.objects.filter(
        pk=number(request.GET.get("job", "")), cluster=cluster, kind=KIND, created_at__gt=timezone.now() - PLAN_KEPT
    ).first()


def _page(
    request: HttpRequest, cluster: Cluster, found: ClusterEvidence, job: Job | None, wrong: Way | None = None
) -> HttpResponse:
    choices = choices_of(cluster, found)
    made = plan_from_json(job.plan) if job else None
    best = next((one for one in choices if one.candidate.is_best), None)
    may_operate = may(person(request), "operator", cluster)
    approval = approval_of(job, person(request)) if job else None
    is_unapproved = approval is not None and not approval.is_given
    here = request.get_full_path() if request.method == "GET" else reverse("operations:promote", args=[cluster.name])
    context = {
        "cluster": cluster, "found": found, "tone": TONES[found.verdict.kind], "observers": observers(found.observations),
        "best": best,
        "others": [one for one in choices if not one.candidate.is_best],
        "chosen": next((one for one in choices if job and one.candidate.name == job.params.get("candidate")), None),
        "run_text": next((way.text for one in choices for way in one.ways if job and _is_of(job, way)), ""),
        "promise": promise_of(found.primary) if found.primary else None, "may_operate": may_operate, "wrong": wrong,
        "job": job, "plan": made, "steps": planned_steps(made) if made else [], "troubles": troubles(made) if made else [],
        "busy": _busy(cluster),
        "is_sure": _is_sure(found, choices) and may_operate and job is None,
        "is_waiting": found.is_asking or bool(job and job.status == Job.Status.PLANNING) or is_unapproved,
        "approval": approval,
        "link": request.build_absolute_uri(reverse("jobs:plan", args=[job.pk])) if job else "",
        "primary_state": getattr(found.primary, "state", None), "here": here,
    }  # fmt: skip
    context |= _by_hand(best) if best else {}
    part = "#page" if request.headers.get("HX-Request") else ""
    return render(request, f"jobs/promote.html{part}", context, status=422 if wrong else 200)


def _busy(cluster: Cluster) -> Job | None:
    """What a promotion would have to end first; the fence job runs beside whatever there is."""
    active = Job.objects.filter(cluster=cluster, status__in=Job.ACTIVE).exclude(kind="fence")
    return active.select_related("started_by").defer("plan").first()


def _by_hand(best: Choice) -> dict[str, str]:
    """Lines to paste on the candidate's host, without the panel."""
    paths, port = paths_of(best.node), best.node.postgres_port
    as_owner = f"runuser -u {shlex.quote(paths.owner)} --"
    return {
        "promote_line": f"{as_owner} {shlex.quote(paths.bin_directory + '/pg_ctl')} promote -D {shlex.quote(paths.data_directory)}",
        "ask_line": f"{as_owner} {shlex.quote(paths.bin_directory + '/psql')} -p {port} -Atc 'SELECT pg_is_in_recovery()' postgres",
    }
