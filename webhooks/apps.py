from django.apps import AppConfig
from django.db.models.signals import post_save, pre_delete


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = "Whom we tell"

    def ready(self) -> None:
        from clusters import signals  # noqa: PLC0415 (models are not loaded before)
        from clusters.models import Cluster, Node, Quarantine  # noqa: PLC0415
        from webhooks import hearing  # noqa: PLC0415

        signals.job_moved.connect(hearing.job_moved, dispatch_uid="webhooks-job-moved")
        signals.topology_changed.connect(hearing.topology_changed, dispatch_uid="webhooks-topology")
        signals.alert_moved.connect(hearing.alert_moved, dispatch_uid="webhooks-alert")
        signals.quarantined_node_seen.connect(hearing.quarantined_node_seen, dispatch_uid="webhooks-zombie")
        post_save.connect(hearing.cluster_saved, sender=Cluster, dispatch_uid="webhooks-cluster")
        pre_delete.connect(hearing.cluster_leaves, sender=Cluster, dispatch_uid="webhooks-cluster-leaves")
        post_save.connect(hearing.node_saved, sender=Node, dispatch_uid="webhooks-node")
        pre_delete.connect(hearing.node_leaves, sender=Node, dispatch_uid="webhooks-node-leaves")
        post_save.connect(hearing.quarantine_saved, sender=Quarantine, dispatch_uid="webhooks-quarantine")
