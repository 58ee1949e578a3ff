"""A cluster's topology as an ETag: the epoch (it rises with every job) and who is primary on which timeline, as last seen.

`If-Match` with it says: only if nothing has moved since I read. Where it has, the answer is 409, like every refusal because of what
else happens on the cluster (RFC 9110 leaves 412 to the server's choice).
"""

from __future__ import annotations

from django.http import HttpRequest

from clusters.models import Cluster
from clusters.observing import primary_of, state_of
from pgpanel.rest.problems import Fault, Problem


def tag_of(cluster: Cluster) -> str:
    epoch = Cluster.objects.values_list("epoch", flat=True).get(pk=cluster.pk)
    primary = primary_of(list(cluster.nodes.select_related("state")))
    seen = f"{primary.name}.{state_of(primary).timeline}" if primary else "none"
    return f'"{epoch}.{seen}"'


def unmoved(request: HttpRequest, cluster: Cluster) -> None:
    """Holds a call's `If-Match` against the topology as it is."""
    wanted = request.headers.get("If-Match", "")
    if not wanted or wanted.strip() == "*":
        return
    now = tag_of(cluster)
    if now not in {tag.strip() for tag in wanted.split(",")}:
        raise Problem(
            409, "topology-moved", f"The topology of {cluster.name} has moved since you read it.",
            [Fault(f"It is {now} now.", "If-Match", mend="Read the cluster again, and plan anew.")], {"ETag": now},
        )  # fmt: skip
