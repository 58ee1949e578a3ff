"""From when on something is an alert, per cluster: each limit of `monitor.rules.Limits` in words, with bounds and default."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import audit
from clusters.models import Cluster
from monitor.models import Thresholds
from monitor.rules import Limits

MEGABYTE = 1 << 20
DEFAULTS = Limits()


@dataclass(frozen=True)
class Threshold:
    """name: of the field of `Limits`. least, most: in its own unit; scale: how many of those a person types as one."""

    name: str
    label: str | Promise
    least: float
    most: float
    unit: str | Promise
    scale: int = 1
    help: str | Promise = ""

    @property
    def default(self) -> float:
        return float(getattr(DEFAULTS, self.name))

    @property
    def is_whole(self) -> bool:
        return isinstance(getattr(DEFAULTS, self.name), int)


THRESHOLDS = (
    Threshold("lag_soft_seconds", gettext_lazy("Behind, as a warning"), 1, 86400, gettext_lazy("seconds"),
              help=gettext_lazy("Only where it does not catch up.")),
    Threshold("lag_soft_bytes", gettext_lazy("Behind, as a warning, in data"), MEGABYTE, 1 << 50, "MB", MEGABYTE,
              help=gettext_lazy("Only where it does not catch up.")),
    Threshold("lag_hard_seconds", gettext_lazy("Far behind"), 1, 7 * 86400, gettext_lazy("seconds"),
              help=gettext_lazy("Whatever it does: critical.")),
    Threshold("lag_hard_bytes", gettext_lazy("Far behind, in data"), MEGABYTE, 1 << 50, "MB", MEGABYTE,
              help=gettext_lazy("Whatever it does: critical.")),
    Threshold("slot_full_seconds", gettext_lazy("A slot fills the disk within"), 600, 30 * 86400, gettext_lazy("hours"), 3600,
              help=gettext_lazy("At the rate of the last minutes.")),
    Threshold("disk_low_percent", gettext_lazy("Free on a disk, below"), 1, 90, "%",
              help=gettext_lazy("Of the data directory, and of its WAL.")),
    Threshold("expires_within_days", gettext_lazy("A certificate or a password expires within"), 1, 365, gettext_lazy("days")),
    Threshold("breaches_in_a_row", gettext_lazy("Seen in so many looks in a row"), 1, 60, gettext_lazy("looks"),
              help=gettext_lazy("Besides the seconds that each alert waits by itself.")),
)  # fmt: skip
BY_NAME = {each.name: each for each in THRESHOLDS}
PAIRS = (("lag_soft_seconds", "lag_hard_seconds"), ("lag_soft_bytes", "lag_hard_bytes"))
"""The first of each warns before the second alarms."""


def limits_of(own: Mapping[str, float]) -> Limits:
    known = {each.name for each in fields(Limits)}
    return Limits(**{name: value for name, value in own.items() if name in known})  # type: ignore[arg-type]


def limits_by_cluster(cluster_ids: Collection[int]) -> dict[int, Limits]:
    """Of those that have own ones."""
    rows = Thresholds.objects.filter(cluster_id__in=cluster_ids).values_list("cluster_id", "own")
    return {cluster_id: limits_of(own) for cluster_id, own in rows}


def own_of(cluster: Cluster) -> dict[str, float]:
    row = Thresholds.objects.filter(cluster=cluster).first()
    return {name: value for name, value in row.own.items() if name in BY_NAME} if row else {}


@transaction.atomic
def thresholds_save(cluster: Cluster, own: Mapping[str, float]) -> None:
    """own: all of its own ones; what is missing has the default. ValidationError by name."""
    validate(own)
    before = own_of(cluster)
    kept = {name: int(value) if BY_NAME[name].is_whole else float(value) for name, value in own.items()}
    if kept == before:
        return
    Thresholds.objects.update_or_create(cluster=cluster, defaults={"own": kept})
    changed: dict[str, Any] = {
        name: kept.get(name, "default") for name in BY_NAME if kept.get(name) != before.get(name)
    }  # fmt: skip
    audit.record("thresholds.change", cluster.name, cluster=cluster.name, detail=changed)


def validate(own: Mapping[str, float]) -> None:
    wrong: dict[str, list[str]] = {}
    for name, value in own.items():
        one = BY_NAME.get(name)
        if one is None:
            wrong[name] = [_("There is no such threshold.")]
        elif not one.least <= value <= one.most or (one.is_whole and value != int(value)):
            text = _("From %(least)g to %(most)g %(unit)s.")
            wrong[name] = [text % {"least": one.least / one.scale, "most": one.most / one.scale, "unit": one.unit}]
    limits = {name: own.get(name, one.default) for name, one in BY_NAME.items()}
    for soft, hard in PAIRS:
        if not wrong.keys() & {soft, hard} and limits[soft] > limits[hard]:
            wrong[soft if soft in own else hard] = [_("The warning comes before the alarm: not above it.")]
    if wrong:
        raise ValidationError(wrong)
