"""The two signals between `jobs` and `monitor`, which do not import each other."""

from django.dispatch import Signal

job_finished = Signal()
"""Sent by `jobs` when a job has ended. Arguments: job_id, cluster_id, kind, status."""

quarantined_node_seen = Signal()
"""Sent by `monitor` when a node under quarantine answers. Arguments: node_id."""
