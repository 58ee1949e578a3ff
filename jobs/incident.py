"""What happened, as a page and as plain text: the report that a change of roles leaves behind. Reads rows only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.models import Quarantine
from jobs.endings import EndingWords, ending_of, told
from jobs.kinds.promote_checks import TAKEN_OFF
from jobs.models import Job, JobStep
from jobs.recipe import Check
from jobs.stored import plan_from_json
from pgpanel.templatetags.show import seconds_shown

KINDS_TOLD = ("switchover", "promote")
TOLD_SECONDS = 0.05
"""What took less is not said to have taken anything."""
LEFT = (JobStep.Status.TODO, JobStep.Status.RUNNING, JobStep.Status.FAILED, JobStep.Status.CANCELLED)


@dataclass(frozen=True)
class Moment:
    """weight: "big" for what decides (stopped, promoted, writable), "" for the rest."""

    at: datetime
    node: str
    what: str
    weight: str = ""


@dataclass(frozen=True)
class Incident:
    job: Job
    ending: EndingWords
    moments: tuple[Moment, ...]
    evidence: tuple[tuple[str, str, str], ...]
    pending: tuple[str, ...]

    @property
    def report(self) -> dict[str, Any]:
        return report_of(self.job)

    @property
    def word(self) -> str:
        return str(self.ending.word or self.job.get_status_display())

    @property
    def tone(self) -> str:
        return self.ending.tone if self.ending.word else str(self.job.status)

    @property
    def told(self) -> str:
        return told(self.job)

    @property
    def gap(self) -> str:
        """How long nobody took writes."""
        gap_ms = self.report.get("gap_ms")
        return "" if gap_ms is None else ms_shown(float(gap_ms))

    @property
    def loss(self) -> str:
        told = _said(self.report.get("loss"))
        if not told and self.report.get("shutdown_checkpoint") and self.report.get("timeline_after"):
            return _("Nothing: the new primary had all WAL of the old one before it took over.")
        return told

    @property
    def is_loss_possible(self) -> bool:
        loss = self.report.get("loss")
        return isinstance(loss, dict) and not loss.get("is_zero")

    @property
    def verdict(self) -> str:
        """What was known of the old primary before."""
        return str((self.report.get("verdict") or {}).get("sentence", ""))

    @property
    def salvaged(self) -> str:
        return str((self.report.get("salvaged") or {}).get("sentence", ""))

    @property
    def promotion(self) -> str:
        promotion_ms = self.report.get("promotion_ms")
        return "" if promotion_ms is None else ms_shown(float(promotion_ms))

    @property
    def timelines(self) -> str:
        before, after = self.report.get("timeline_before"), self.report.get("timeline_after")
        return f"{before} → {after}" if before and after else ""

    @property
    def took(self) -> str:
        begun, ended = self.job.started_at, self.job.ended_at
        return seconds_shown((ended - begun).total_seconds()) if begun and ended else ""

    @property
    def by(self) -> str:
        job = self.job
        who = str(job.started_by or job.planned_by or _("the command line"))
        return f"{who} ({job.started_from})" if job.started_from else who

    @property
    def text(self) -> str:
        """The whole page as plain text, to paste into a ticket."""
        job = self.job
        lines = [f"{job.cluster.name}: {job.title}", f"{_('Ended')}: {self.word}"]
        facts = (
            (_("Begun"), _clock(job.started_at)), (_("Ended at"), _clock(job.ended_at)), (_("Took"), self.took), (_("By"), self.by),
            (_("Without writes"), self.gap), (_("Promoted in"), self.promotion), (_("Lost"), self.loss),
            (_("Fetched"), self.salvaged), (_("Timeline"), self.timelines), (_("Plan"), job.plan_hash[:12]),
            (_("Job"), str(job.pk)),
        )  # fmt: skip
        lines += [f"{name}: {value}" for name, value in facts if value]
        if job.outcome:
            lines += ["", job.outcome]
        if self.evidence:
            lines += [
                "",
                _("What was known before"),
                *([f"  {self.verdict}"] if self.verdict else []),
                *(f"  {who}: {says} {why}".rstrip() for who, says, why in self.evidence),
            ]
        lines += ["", _("What happened"), *(f"  {_clock(one.at)}  {one.node:<10} {one.what}" for one in self.moments)]
        if self.pending:
            lines += ["", _("Pending"), *(f"  – {one}" for one in self.pending)]
        return "\n".join(lines) + "\n"


def ms_shown(milliseconds: float) -> str:
    """113 ms, and seconds from one up: of a gap every millisecond tells."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else seconds_shown(milliseconds / 1000)


def is_told(job: Job) -> bool:
    """Has the job a story of its own?"""
    return job.started_at is not None and job.kind in KINDS_TOLD


def report_of(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = job.report or {}
    return found


def incident_of(job: Job) -> Incident:
    return Incident(job, ending_of(job), tuple(sorted(_moments(job), key=lambda one: one.at)), _evidence(job), tuple(_pending(job)))


def _moments(job: Job) -> list[Moment]:
    who = str(job.started_by or _("the command line"))
    found = [Moment(job.created_at, "", _("planning began"))] if job.created_at else []
    if job.planned_at:
        found.append(Moment(job.planned_at, "", _("the plan could be read")))
    if job.queued_at:
        found.append(Moment(job.queued_at, "", _("confirmed by %(who)s") % {"who": who}, "big"))
    for step in job.steps.all():
        if step.started_at and step.status != JobStep.Status.ALREADY:
            took_seconds = (step.ended_at - step.started_at).total_seconds() if step.ended_at else 0.0
            took = f" ({seconds_shown(took_seconds)})" if took_seconds >= TOLD_SECONDS else ""
            is_failed = step.status == JobStep.Status.FAILED
            found.append(Moment(step.started_at, step.node, f"{step.title}{took}{_(': failed') if is_failed else ''}"))
    found += [
        Moment(at, one.get("node", ""), one.get("what", ""), "big")
        for one in report_of(job).get("timeline", ())
        if (at := _at(one))
    ]
    if job.ended_at:
        found.append(
            Moment(job.ended_at, "", _("the job ended: %(how)s") % {"how": ending_of(job).word or job.get_status_display()}, "big")
        )
    return found


def _at(told: dict[str, Any]) -> datetime | None:
    """Epoch seconds or ISO text."""
    at = told.get("at")
    if isinstance(at, int | float):
        return datetime.fromtimestamp(at, UTC)
    return datetime.fromisoformat(at) if isinstance(at, str) and at else None


def _evidence(job: Job) -> tuple[tuple[str, str, str], ...]:
    """(observer, what it says, why)."""
    return tuple(
        (
            f"{one.get('observer', '')}, {one.get('by', '')}".strip(", "),
            str(one.get("says", "")).replace("-", " "),
            str(one.get("detail", "")),
        )
        for one in report_of(job).get("evidence", ())
    )


def _pending(job: Job) -> list[str]:
    found = []
    if job.status != Job.Status.SUCCEEDED and not job.is_active:
        found += [f"{step.node}: {step.title}" for step in job.steps.filter(status__in=LEFT)]
    found += [f"{check.node}: {check.reason}; {check.mend}: {check.mend_command}" for check in _taken_off(job)]
    quarantined = Quarantine.objects.filter(node__cluster=job.cluster_id, lifted_at=None).select_related("node")
    found += [_("%(node)s is under quarantine: rebuild it as a standby") % {"node": one.node.name} for one in quarantined]
    return found


def _taken_off(job: Job) -> list[Check]:
    """What a promotion takes off for good reason and nobody puts back by itself. Said from the moment it was promoted."""
    if not job.plan or not job.report.get("timeline_after"):
        return []
    return [check for check in plan_from_json(job.plan).checks if check.key.startswith(f"{TAKEN_OFF}#")]


def _said(loss: Any) -> str:
    """A sentence, or a mapping that holds one."""
    if isinstance(loss, dict):
        return str(loss.get("sentence") or loss.get("said") or ", ".join(f"{key}: {value}" for key, value in loss.items()))
    return "" if loss is None else str(loss)


def _clock(at: datetime | None) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + timezone.localtime(at).strftime(" %Z") if at else ""
