"""`manage.py job …`: the panel's jobs from a shell, by the same services as the pages.

    job kinds
    job plan setup --cluster registry --set primary=pg1 --set standbys=pg2,pg3 [--json]
    job start 7 --hash 3fa9…      job follow 7      job cancel 7      job resume 7      job list      job show 7
    job run setup --cluster registry --set … [--yes]      plan, print, confirm, start, follow to the end

Exit codes: 0 succeeded (or planned), 1 anything else, 2 wrong arguments.
"""

from __future__ import annotations

import getpass
import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import acting
from accounts.models import User
from clusters.models import Cluster
from jobs import engine, services
from jobs.forms import FORMS
from jobs.kinds import KINDS
from jobs.log import told
from jobs.models import Job, JobStep, LogLine
from jobs.recipe import ParamsError, PlannedStep
from jobs.stored import plan_from_json

POLL_SECONDS = 0.2
DIFF_LINES, NEW_FILE_LINES = 60, 4
MARKS = {"ok": "ok     ", "warning": "warning", "refused": "REFUSED"}
VOICES = {"command": "", "output": "  ", "error": "! ", "note": "# "}


class Command(BaseCommand):
    help = "Plan, start, follow, cancel and resume jobs."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("kinds", help="what can be done")
        listing = verbs.add_parser("list", help="the last jobs")
        listing.add_argument("--cluster", default="")
        for verb, text in (("plan", "make a plan and print it"), ("run", "plan, print, confirm, start and follow to the end")):
            planning = verbs.add_parser(verb, help=text)
            planning.add_argument("kind")
            planning.add_argument("--cluster", required=True)
            planning.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="JSON, a,b,c or plain text")
            planning.add_argument("--full", action="store_true", help="print every script and new file whole, as `job show` does")
            self._common(planning)
            if verb == "run":
                planning.add_argument("--yes", action="store_true", help="confirm the plan without asking")
                self._running(planning)
        starting = verbs.add_parser("start", help="start a planned job")
        starting.add_argument("id", type=int)
        starting.add_argument("--hash", required=True, help="of the plan that you read (its first 12 characters are enough)")
        resuming = verbs.add_parser("resume", help="go on with a failed, cancelled or lost job")
        resuming.add_argument("id", type=int)
        for running in (starting, resuming):
            self._running(running)
            self._common(running)
        for verb, text in (
            ("show", "print a job's plan and state"),
            ("follow", "print a job's log until it ends"),
            ("cancel", "ask a job to stop"),
        ):
            one = verbs.add_parser(verb, help=text)
            one.add_argument("id", type=int)
            self._common(one)

    @staticmethod
    def _common(parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the job as JSON instead of text")
        parser.add_argument("--as", dest="person", default="", metavar="USERNAME", help="who does this")

    @staticmethod
    def _running(parser: ArgumentParser) -> None:
        parser.add_argument("--here", action="store_true", help="run it in this process: needs neither Redis nor a worker")
        parser.add_argument("--no-follow", action="store_true", help="do not wait for its end")

    def handle(self, *_arguments: Any, verb: str, **options: Any) -> None:
        try:
            with acting.as_(replace(acting.now(), user=self._person(options))):
                getattr(self, f"do_{verb}")(**options)
        except services.JobRefused as error:
            raise CommandError(str(error)) from error
        except ParamsError as error:
            raise CommandError(str(error), returncode=2) from error

    # -- verbs -----------------------------------------------------------------------------------------------------------------

    def do_kinds(self, **_options: Any) -> None:
        for name, kind in sorted(KINDS.items()):
            self.stdout.write(f"{name:16} {kind.label}")

    def do_list(self, cluster: str, **_options: Any) -> None:
        jobs = Job.objects.select_related("cluster")
        for job in (jobs.filter(cluster__name=cluster) if cluster else jobs)[:30]:
            self.stdout.write(f"{job.pk:6} {job.status:10} {job.cluster.name:20} {job.created_at:%Y-%m-%d %H:%M:%S} {job.title}")

    def do_plan(self, **options: Any) -> None:
        job = self._planned(**options)
        self._print(job, as_json=options["json"], is_full=options["full"])
        if job.status != Job.Status.PLANNED:
            raise CommandError(f"job {job.pk} is {job.status}")

    def do_run(self, **options: Any) -> None:
        job = self._planned(**options)
        if not options["json"]:
            self._print_plan(job, is_full=options["full"])
        if job.status != Job.Status.PLANNED:
            raise CommandError(f"job {job.pk} is {job.status}")
        if not options["yes"] and input(f"{job.title}: do exactly this? [yes/no] ").strip() != "yes":
            services.job_withdraw(job)
            raise CommandError("nothing was changed")
        self._go(services.job_start, job, job.plan_hash, self._person(options), **options)

    def do_start(self, **options: Any) -> None:
        job = self._job(options["id"])
        is_same = len(options["hash"]) >= 12 and job.plan_hash.startswith(options["hash"])
        self._go(services.job_start, job, job.plan_hash if is_same else options["hash"], self._person(options), **options)

    def do_resume(self, **options: Any) -> None:
        self._go(services.job_resume, self._job(options["id"]), self._person(options), **options)

    def do_cancel(self, **options: Any) -> None:
        job = services.job_cancel(self._job(options["id"]), self._person(options))
        self.stdout.write(f"job {job.pk} is {job.status}" + (", asked to stop" if job.is_active else ""))

    def do_follow(self, **options: Any) -> None:
        self._follow(self._job(options["id"]), as_json=options["json"])

    def do_show(self, **options: Any) -> None:
        self._print(self._job(options["id"]), as_json=options["json"], is_full=True)

    # -- how -------------------------------------------------------------------------------------------------------------------

    def _planned(self, **options: Any) -> Job:
        cluster = Cluster.objects.filter(name=options["cluster"]).first()
        if cluster is None:
            raise CommandError(
                f"no cluster {options['cluster']!r}; known: {', '.join(Cluster.objects.values_list('name', flat=True))}"
            )
        if options["kind"] not in KINDS:
            raise CommandError(f"no kind {options['kind']!r}; known: {', '.join(sorted(KINDS))}")
        form = FORMS.get(options["kind"])
        params = (form.proposed(cluster) if form else {}) | dict(_setting(text) for text in options["set"])
        try:
            KINDS[options["kind"]].params(params)
        except ParamsError as error:
            # one name where a list of names is wanted: --set standbys=pg2
            if isinstance(params.get(error.field_name), str):
                params[error.field_name] = [params[error.field_name]]
        return services.job_plan(cluster, options["kind"], params, self._person(options), self._where(), plan_now=True)

    def _go(self, service: Any, *arguments: Any, **options: Any) -> None:
        try:
            job = service(*arguments, self._where())
        except services.BrokerAway as error:
            if not options["here"]:
                self.stderr.write(str(error))
            job = self._job(arguments[0].pk)
        if options["here"]:
            engine.run_job(job.pk)
        if not options["no_follow"]:
            self._follow(job, as_json=options["json"])

    def _follow(self, job: Job, *, as_json: bool) -> None:
        for line in lines_until_the_end(job):
            if not as_json:
                host = f"{line.node:>8} " if line.node else ""
                text = line.text.replace("\n", "\n" + " " * (12 + len(host)))
                self.stdout.write(f"{line.at:%H:%M:%S.%f}"[:-4] + f" {host}{VOICES[line.voice]}{text}")
        job.refresh_from_db()
        self._print_end(job, as_json=as_json)
        if job.status != Job.Status.SUCCEEDED:
            raise CommandError(f"job {job.pk} {job.status}")

    def _print(self, job: Job, *, as_json: bool, is_full: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(job_json(job), indent=1))
        else:
            self._print_plan(job, is_full=is_full)

    def _print_plan(self, job: Job, *, is_full: bool) -> None:
        plan = plan_from_json(job.plan)
        self.stdout.write(f"{job.title}  (job {job.pk}, {job.status})\n")
        for check in plan.checks:
            self.stdout.write(
                f"  {MARKS[check.level]} {check.node:8} {check.title}" + (f": {check.reason}" if check.reason else "")
            )
            if check.level != "ok":
                for mend in filter(None, (check.mend, check.mend_command)):
                    self.stdout.write(f"          {'':8} → {mend}")
        for number, step in enumerate(plan.steps, start=1):
            self.stdout.write(f"\n{number:3}. {step.node}: {step.title}" + ("" if step.is_needed else "  (nothing to do)"))
            for label, text in (("destroys", step.destroys), ("restarts", step.restarts)):
                if text:
                    self.stdout.write(f"     {label}: {text}")
            for text in _texts(step, is_full=is_full):
                self.stdout.write("\n".join(f"       {line}" for line in text.splitlines()))
        for text in (*plan.summary, job.outcome):
            if text:
                self.stdout.write(f"\n{text}")
        whole = "" if is_full else f"   (every script and file whole: job show {job.pk})"
        self.stdout.write(f"\nplan {job.plan_hash}{whole}" if job.plan_hash else "")

    def _print_end(self, job: Job, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(job_json(job), indent=1))
            return
        self.stdout.write("")
        for step in job.steps.all():
            self.stdout.write(f"  {step.get_status_display():14} {_seconds(step):>9}  {step.node}: {step.title}")

    @staticmethod
    def _job(job_id: int) -> Job:
        job = Job.objects.select_related("cluster").filter(pk=job_id).first()
        if job is None:
            raise CommandError(f"no job {job_id}")
        return job

    @staticmethod
    def _person(options: dict[str, Any]) -> User | None:
        if not options.get("person"):
            return None
        person = User.objects.filter(username=options["person"]).first()
        if person is None:
            raise CommandError(f"nobody is called {options['person']!r}")
        return person

    @staticmethod
    def _where() -> str:
        return f"command line of {getpass.getuser()}"


def lines_until_the_end(job: Job) -> Iterator[LogLine]:
    """The job's log from its beginning, as it grows, from the database alone."""
    seq = 0
    while True:
        job.refresh_from_db(fields=["status"])
        is_active = job.is_active
        for line in LogLine.objects.filter(job=job, seq__gt=seq):
            seq = line.seq
            yield line
        if not is_active:
            return
        time.sleep(POLL_SECONDS)


def _texts(step: PlannedStep, *, is_full: bool) -> list[str]:
    """What a step runs and writes: whole, or long scripts by their first sentence and new files by their length."""
    if is_full:
        return [*step.shown, *(diff for _path, diff in step.diffs)]
    return [*(told(text) for text in step.shown), *(_diff_told(path, diff) for path, diff in step.diffs)]


def _diff_told(path: str, diff: str) -> str:
    lines = diff.splitlines()
    added = sum(line.startswith("+") for line in lines[3:])
    if any(line.startswith("@@ -0,0 ") for line in lines[:3]) and added > NEW_FILE_LINES:
        return f"{path}: a new file, {added} lines"
    return diff if len(lines) <= DIFF_LINES else f"{path}: {len(lines)} lines of differences"


def job_json(job: Job) -> dict[str, Any]:
    steps = [
        {
            "key": step.key, "node": step.node, "title": step.title, "status": step.status, "attempt": step.attempt,
            "seconds": _elapsed(step), "progress": step.progress, "error": step.error,
        }
        for step in job.steps.all()
    ]  # fmt: skip
    planned = (job.planned_at - job.created_at).total_seconds() if job.planned_at else None
    total = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None
    return {
        "id": job.pk, "kind": job.kind, "cluster": job.cluster.name, "title": job.title, "status": job.status,
        "plan_hash": job.plan_hash,
        "planned_seconds": planned, "seconds": total, "outcome": job.outcome, "notes": job.notes, "params": job.params,
        "plan": job.plan, "steps": steps,
    }  # fmt: skip


def _elapsed(step: JobStep) -> float | None:
    return (step.ended_at - step.started_at).total_seconds() if step.ended_at and step.started_at else None


def _seconds(step: JobStep) -> str:
    seconds = _elapsed(step)
    return "" if seconds is None else f"{seconds:.1f} s"


def _setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE: the value is JSON where it reads as JSON, a list where it has commas, else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: NAME=VALUE is wanted", returncode=2)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value.split(",") if "," in value else value
