"""Pages of jobs. A page is one template with named partials; the same view renders either. No page speaks SSH."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.acting import address_of
from accounts.models import User
from accounts.reauthentication import dangerous
from clusters.models import Cluster
from clusters.services import cluster_or_404, clusters_for, may
from jobs import services
from jobs.dangers import dangers_of
from jobs.endings import EndingWords, ending_of, told
from jobs.forms import FORMS, disks
from jobs.incident import incident_of, is_told
from jobs.job_form import JobForm
from jobs.kept import kept_in
from jobs.kinds import KINDS
from jobs.models import Job, LogLine
from jobs.offers import words_of
from jobs.recipe import ParamsError
from jobs.runbook import runbook
from jobs.second_person import approval_of
from jobs.show import passed, planned_steps, proven_of, step_rows, troubles
from jobs.stored import plan_from_json
from remote.errors import OTHER_HOST_KEY
from remote.rows import number

LINES_SHOWN = 2000
"""A page begins with the last so many lines; the download has all."""
JOBS_SHOWN = 100


def job_or_404(request: HttpRequest, job_id: int, role: str = "viewer") -> Job:
    """The job; 404 where its cluster may not be seen, 403 where it may be seen but not this."""
    job = (
        Job.objects.select_related("cluster", "planned_by", "started_by", "cancel_requested_by", "supersedes__started_by")
        .filter(pk=job_id)
        .first()
    )
    if job is None:
        raise Http404(_("No such job."))
    try:
        cluster_or_404(person(request), job.cluster.name, role)  # type: ignore[arg-type]
    except Http404:
        raise Http404(_("No such job.")) from None  # not a word that there is one
    return job


def person(request: HttpRequest) -> User:
    return cast(User, request.user)  # LoginRequiredMiddleware lets nobody else in


def where_from(request: HttpRequest) -> str:
    return address_of(request) or "web"


# -- lists -------------------------------------------------------------------------------------------------------------------------


@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    jobs = _jobs().filter(cluster__in=clusters_for(person(request)))
    if name := request.GET.get("cluster"):
        jobs = jobs.filter(cluster__name=name)
    return render(request, "jobs/job_list.html", {"jobs": _worded(jobs[:JOBS_SHOWN]), "cluster_name": name or ""})


@require_GET
def jobs_of_cluster(request: HttpRequest, cluster_name: str) -> HttpResponse:
    """The last jobs of a cluster, for its page to pull in."""
    cluster = cluster_or_404(person(request), cluster_name)
    jobs = _jobs().filter(cluster=cluster).exclude(status__in=(Job.Status.WITHDRAWN, Job.Status.REFUSED))[:8]
    return render(
        request, "jobs/job_list.html#rows", {"jobs": _worded(jobs), "cluster": cluster, "is_part": True} | proven_of(cluster)
    )


@require_GET
def proven(request: HttpRequest, cluster_name: str) -> HttpResponse:
    """When a switchover was last seen through, for the cluster's page to pull in."""
    return render(request, "jobs/proven.html", proven_of(cluster_or_404(person(request), cluster_name)))


@require_GET
def kept(request: HttpRequest, cluster_name: str, node_name: str) -> HttpResponse:
    """A node's old data directory, if a rebuild has put one aside, for the node's page to pull in."""
    cluster = cluster_or_404(person(request), cluster_name)
    return render(request, "jobs/kept.html", {"kept": next((one for one in kept_in(cluster) if one.node == node_name), None)})


def _worded(jobs: QuerySet[Job]) -> list[tuple[Job, EndingWords]]:
    """Each with how it ended: a job that failed behind the promotion has not failed to promote."""
    return [(job, ending_of(job)) for job in jobs]


def _jobs() -> QuerySet[Job]:
    return Job.objects.select_related("cluster", "planned_by", "started_by").defer("plan")


# -- settings and plan -------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def job_new(request: HttpRequest, kind_name: str) -> HttpResponse:
    form_class, kind = FORMS.get(kind_name), KINDS.get(kind_name)
    if form_class is None or kind is None:
        raise Http404(_("There is no such kind of job."))
    cluster = cluster_or_404(person(request), request.GET.get("cluster", ""), "operator")
    if request.method != "POST":
        form = form_class(cluster=cluster, initial=_initial(request, form_class, cluster))
        return _settings_page(request, form, kind_name)
    sent: QueryDict = request.POST
    if "unasked" in sent:  # a button that says it all: whatever else there is stays as the settings page would propose it
        sent = form_class.as_sent(cluster, {name: str(value) for name, value in sent.items()})
    form = form_class(sent, cluster=cluster)
    if form.is_valid():
        try:
            job = services.job_plan(cluster, kind_name, form.params(), person(request), where_from(request))
            return redirect("jobs:plan", job.pk)
        except ParamsError as error:
            text = f"{error.message[:1].upper()}{error.message[1:]}" + (f": {error.mend}" if error.mend else "")
            form.add_error(error.field_name if error.field_name in form.fields else None, text)
        except services.BrokerAway as error:
            messages.warning(request, str(error))
            return redirect("jobs:plan", error.job.pk)
    return _settings_page(request, form, kind_name)


def _settings_page(request: HttpRequest, form: JobForm, kind_name: str) -> HttpResponse:
    context = {
        "form": form,
        "cluster": form.cluster,
        "kind": KINDS[kind_name],
        "kind_name": kind_name,
        "disks": disks(form.cluster) if form.shows_disks else [],
    }
    return render(request, "jobs/job_new.html", context, status=422 if form.errors else 200)


def _initial(request: HttpRequest, form_class: type[JobForm], cluster: Cluster) -> dict[str, Any]:
    """From an earlier job's parameters (back from its plan), else from what was last seen; the address bar has the last word."""
    earlier = Job.objects.filter(cluster=cluster, pk=number(request.GET.get("job", ""))).first()
    initial = form_class.first_values(cluster) | (form_class.as_typed(earlier) if earlier else {})
    for name, field in form_class.base_fields.items():
        if name in request.GET:
            initial[name] = request.GET.getlist(name) if hasattr(field, "choices") and name == "standbys" else request.GET[name]
    return initial


@require_GET
def job_plan_page(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id)
    plan, approval = plan_from_json(job.plan), approval_of(job, person(request))
    context = {
        "job": job, "plan": plan, "approval": approval,
        "is_waiting": job.status == Job.Status.PLANNING or bool(approval and not approval.is_given),
        "troubles": troubles(plan), "passed": passed(plan),
        "passed_count": sum(check.level == "ok" for check in plan.checks),
        "steps": planned_steps(plan), "is_wizard": job.kind == "setup", "words": words_of(job),
        "other_host_key": OTHER_HOST_KEY,
        "may_start": may(person(request), "operator", job.cluster),
        "link": request.build_absolute_uri(reverse("jobs:plan", args=[job.pk])), "settings_url": _settings_url(job),
        "busy": Job.objects.filter(cluster=job.cluster, status__in=Job.ACTIVE).exclude(pk=job.pk).first(),
        "restarts": sorted({step.restarts for step in plan.steps if step.restarts}),
        "destroys": sorted({f"{step.node}: {step.destroys}" for step in plan.steps if step.destroys}),
    }  # fmt: skip
    return render(request, "jobs/job_plan.html" + ("#plan" if request.headers.get("HX-Request") else ""), context)


def _settings_url(job: Job) -> str:
    return f"{reverse('jobs:new', args=[job.kind])}?cluster={job.cluster.name}&job={job.pk}" if job.kind in FORMS else ""


# -- doing -------------------------------------------------------------------------------------------------------------------------


def _do(request: HttpRequest, job: Job, act: Callable[[], object]) -> HttpResponse:
    """Act by a service, then show the job; what the service refuses is said on a page of its own, as a conflict."""
    try:
        act()
    except services.BrokerAway as error:
        messages.warning(request, str(error))
    except services.JobRefused as error:
        busy = error.job if isinstance(error, services.ClusterBusy) else None
        job.refresh_from_db()
        return render(request, "jobs/job_conflict.html", {"job": job, "reason": str(error), "busy": busy}, status=409)
    return redirect("jobs:detail", job.pk)


def _is_dangerous(request: HttpRequest, job_id: int) -> bool:
    """Is there something to confirm? Not for somebody who is refused anyway."""
    job = Job.objects.select_related("cluster").filter(pk=job_id).first()
    return job is not None and may(person(request), "operator", job.cluster) and bool(dangers_of(job))


@require_POST
@dangerous("job.start", when=_is_dangerous)
def job_start(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id, "operator")
    supersede = "supersede" in request.POST
    return _do(request, job, lambda: services.job_start(
        job, request.POST.get("hash", ""), person(request), where_from(request), supersede=supersede))  # fmt: skip


@require_POST
@dangerous("job.approve", when=_is_dangerous)
def job_approve(request: HttpRequest, job_id: int) -> HttpResponse:
    """By the second person; who started it goes on from the page that they have open."""
    job = job_or_404(request, job_id, "operator")
    return _do(request, job, lambda: services.job_approve(job, request.POST.get("hash", ""), person(request)))


@require_POST
@dangerous("job.resume", when=_is_dangerous)
def job_resume(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id, "operator")
    return _do(request, job, lambda: services.job_resume(job, person(request), where_from(request)))


@require_POST
def job_cancel(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id, "operator")
    return _do(request, job, lambda: services.job_cancel(job, person(request)))


@require_POST
def job_withdraw(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id, "operator")
    services.job_withdraw(job)
    return redirect("jobs:plan", job.pk)


# -- the job -----------------------------------------------------------------------------------------------------------------------


@require_GET
def job_detail(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id)
    if job.queued_at is None:
        return redirect("jobs:plan", job.pk)
    part = request.GET.get("part", "") if request.headers.get("HX-Request") else ""
    context: dict[str, Any] = {
        "job": job, "steps": step_rows(job), "approval": approval_of(job, person(request)),
        "link": request.build_absolute_uri(reverse("jobs:detail", args=[job.pk])),
        "may_operate": may(person(request), "operator", job.cluster),
        "is_wizard": job.kind == "setup", "ending": ending_of(job), "told": told(job), "is_told": is_told(job),
        "other_keys": _other_keys(job), "words": words_of(job),
        "is_waiting": job.status == Job.Status.PLANNED and job.supersedes is not None,
    }  # fmt: skip
    if part in ("steps", "state", "wizard"):
        return render(request, f"jobs/job_detail.html#{part}", context)
    last = list(LogLine.objects.filter(job=job).order_by("-seq")[:LINES_SHOWN])
    context |= {"lines": last[::-1], "after": last[0].seq if last else 0, "log_url": reverse("jobs:log", args=[job.pk])}
    return render(request, "jobs/job_detail.html", context)


def _other_keys(job: Job) -> list[str]:
    """Nodes whose host showed another key than the accepted one: each has a page where a person compares and accepts it."""
    if job.status not in Job.RESUMABLE and job.status != Job.Status.REFUSED:
        return []
    return [
        name
        for name in job.cluster.nodes.values_list("name", flat=True)
        if re.search(rf"\b{name}\b[^\n]*{OTHER_HOST_KEY}", job.outcome)
    ]


@require_GET
def job_incident(request: HttpRequest, job_id: int) -> HttpResponse:
    """What happened, by whom, what is pending: to read, print or copy."""
    return render(request, "jobs/incident.html", {"job": (job := _told(request, job_id)), "incident": incident_of(job)})


@require_GET
def job_incident_text(request: HttpRequest, job_id: int) -> HttpResponse:
    return HttpResponse(incident_of(_told(request, job_id)).text, content_type="text/plain; charset=utf-8")


def _told(request: HttpRequest, job_id: int) -> Job:
    job = job_or_404(request, job_id)
    if not is_told(job):
        raise Http404(_("This job has no story of its own."))
    return job


@require_GET
def job_log(request: HttpRequest, job_id: int) -> HttpResponse:
    """The whole log as text; `?after=seq` what came since."""
    job = job_or_404(request, job_id)
    lines = LogLine.objects.filter(job=job, seq__gt=number(request.GET.get("after", "")))
    response = HttpResponse("".join(_log_line(line) for line in lines.iterator()), content_type="text/plain; charset=utf-8")
    if "after" not in request.GET:
        response["Content-Disposition"] = f'attachment; filename="job-{job.pk}.txt"'
    return response


def _log_line(line: LogLine) -> str:
    prompt = "$ " if line.voice == LogLine.Voice.COMMAND else ""
    # the further lines of one entry stand under its first: no text can pass for an entry of its own
    text = line.text.replace("\n", "\n" + " " * 46)
    return f"{line.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z {line.node or '-':<12} {line.voice:<7} {prompt}{text}\n"


@require_GET
def job_runbook(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(request, job_id)
    if not job.plan_hash:
        raise Http404(_("This job has no plan."))
    response = HttpResponse(runbook(job), content_type="text/x-shellscript; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="job-{job.pk}-runbook.sh"'
    return response
