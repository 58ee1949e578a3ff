"""The signals between rooms that do not import each other. What is told stands in the database already."""

import logging
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)

job_moved = Signal()
"""Sent by `jobs` when a job has another status than before, or may have. Arguments: job_id, status, cluster_id."""

job_finished = Signal()
"""Sent by `jobs` when a job has ended. Arguments: job_id, cluster_id, kind, status."""

quarantined_node_seen = Signal()
"""Sent by `monitor` when a node under quarantine answers. Arguments: node_id."""

topology_changed = Signal()
"""Sent by `monitor` when roles, states or links of a cluster's nodes are other than before. Arguments: cluster_id."""

alert_moved = Signal()
"""Sent by `monitor` inside the transaction that writes it. Arguments: alert_id, what ("fired", "acknowledged", "resolved")."""


def tell(signal: Signal, sender: Any, **arguments: Any) -> None:
    """A listener's fault is logged: whoever tells goes on."""
    for _receiver, answer in signal.send_robust(sender, **arguments):
        if isinstance(answer, Exception):
            logger.error("somebody who hears of this failed: %s", arguments, exc_info=answer)
