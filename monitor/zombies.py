"""The zombie watch: a node under quarantine that takes writes, or is about to, is told of at once. Who hears it has it stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from clusters.models import Quarantine
from clusters.signals import quarantined_node_seen, tell
from monitor.watch import ClusterReport, NodeReport

logger = logging.getLogger(__name__)


def watch(reports: Sequence[ClusterReport]) -> None:
    """With every write of the books. A listener's fault is logged: the watch goes on."""
    seen = {node.node_id for report in reports for node in report.nodes if may_write(node)}
    if not seen:
        return
    for node_id in Quarantine.objects.filter(node_id__in=seen, lifted_at=None).values_list("node_id", flat=True):
        logger.error("node %s is under quarantine and answers as a primary", node_id)
        tell(quarantined_node_seen, NodeReport, node_id=node_id)


def may_write(node: NodeReport) -> bool:
    """It answered as a primary just now, or it is starting: nobody knows yet as what."""
    if node.unseen is not None:
        return node.unseen.cause == "starting"
    return node.sight is not None and node.sight.role == "primary" and node.is_fresh
