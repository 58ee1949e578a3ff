"""Whether a managed block is still as the last job left it: checksums that the database keeps per node and file.

What is seen first after a job has ended counts as what it wrote. While a job runs nothing is compared.
"""

from __future__ import annotations

from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from clusters.models import Node
from monitor.host_look import HostSight
from monitor.models import ManagedBlocks, RunningJob
from monitor.watch import NodeTarget

NONE = "-"


def drifted(target: NodeTarget, sight: HostSight) -> tuple[str, ...]:
    """The files. Called from a thread of its own."""
    close_old_connections()
    try:
        return _drifted(target.node_id, sight)
    finally:
        connection.close()


def _drifted(node_id: int, sight: HostSight) -> tuple[str, ...]:
    if RunningJob.objects.filter(cluster__nodes=node_id).exists():
        return ()
    try:
        kept, is_new = ManagedBlocks.objects.get_or_create(node_id=node_id, defaults={"sums": sight.blocks})
    except DatabaseError:  # removed meanwhile
        return ()
    if not is_new and not kept.sums and sight.at > kept.since.timestamp():
        kept.sums = sight.blocks
        kept.save(update_fields=["sums"])
    return compare(kept.sums, sight.blocks)


def compare(kept: dict[str, str], seen: dict[str, str]) -> tuple[str, ...]:
    """Files that had a block and have another one, or none. A file that could not be read says nothing."""
    return tuple(sorted(name for name, checksum in kept.items() if checksum != NONE and seen.get(name, checksum) != checksum))


def job_ended(cluster_id: int) -> None:
    """What stands there from now on is what it wrote; a look that began before says nothing of it."""
    now = timezone.now()
    for node_id in Node.objects.filter(cluster_id=cluster_id).values_list("pk", flat=True):
        ManagedBlocks.objects.update_or_create(node_id=node_id, defaults={"sums": {}, "since": now})
