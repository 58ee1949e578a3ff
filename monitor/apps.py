from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class MonitorConfig(AppConfig):
    name = "monitor"
    verbose_name = "What we see"

    def ready(self) -> None:
        from clusters.models import Cluster, Credential, Node, Quarantine  # noqa: PLC0415
        from clusters.signals import job_finished, job_moved  # noqa: PLC0415
        from monitor import alerts, marks, panel_alerts, stream  # noqa: PLC0415

        stream.register()
        post_save.connect(_quarantine_changed, sender=Quarantine, dispatch_uid="monitor-saved-Quarantine")
        for model in (Cluster, Credential, Node):
            post_save.connect(_cluster_changed, sender=model, dispatch_uid=f"monitor-saved-{model.__name__}")
        post_delete.connect(_cluster_changed, sender=Node, dispatch_uid="monitor-deleted-Node")
        job_finished.connect(_job_finished, dispatch_uid="monitor-job-finished")
        job_moved.connect(alerts.job_moved, dispatch_uid="monitor-job-moved")
        job_moved.connect(panel_alerts.job_moved, dispatch_uid="monitor-job-alerts")
        job_moved.connect(marks.job_moved, dispatch_uid="monitor-job-marks")
        job_finished.connect(marks.job_finished, dispatch_uid="monitor-job-marked")


def _cluster_changed(sender: Any, instance: Any, created: bool = False, **_more: Any) -> None:
    from clusters.models import Cluster  # noqa: PLC0415
    from monitor.leases import note_change  # noqa: PLC0415

    cluster_id = instance.pk if sender is Cluster else instance.cluster_id
    if cluster_id is not None and not (sender is Cluster and created):
        note_change(cluster_id)


def _quarantine_changed(sender: Any, instance: Any, **_more: Any) -> None:  # noqa: ARG001
    from monitor.leases import note_change  # noqa: PLC0415

    note_change(instance.node.cluster_id)


def _job_finished(sender: Any, cluster_id: int | None = None, **_more: Any) -> None:  # noqa: ARG001
    from monitor import drift  # noqa: PLC0415
    from monitor.leases import note_change  # noqa: PLC0415

    if cluster_id is not None:
        drift.job_ended(cluster_id)
        note_change(cluster_id)
