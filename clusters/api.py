"""The API of what we have: clusters and nodes. What a page does, an endpoint does by the same service."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from accounts.models import User
from clusters.api_schemas import ClusterOut, NodeOut
from clusters.models import Cluster, Node
from clusters.rights import clusters_for
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.rules import needs, of_cluster, of_node, oneself
from pgpanel.rest.topology import tag_of

router = Router(tags=["Clusters"])


@router.get("/clusters", response=Page[ClusterOut], summary="Clusters that you may see")
@needs(None, oneself)
def cluster_list(user: User, after: After = "", limit: Limit = 100) -> object:
    return paged(clusters_for(user), after, limit, ClusterOut.of, key="name")


@router.get("/clusters/{name}", response=ClusterOut, summary="One cluster; its topology is the ETag")
@needs("viewer", of_cluster)
def cluster_read(cluster: Cluster) -> HttpResponse:
    return answered(200, ClusterOut.of(cluster), etag=tag_of(cluster))


@router.get("/clusters/{name}/nodes", response=Page[NodeOut], summary="Its nodes")
@needs("viewer", of_cluster)
def node_list(cluster: Cluster, after: After = "", limit: Limit = 100) -> object:
    return paged(cluster.nodes.select_related("state", "cluster"), after, limit, NodeOut.of, key="name")


@router.get("/clusters/{name}/nodes/{node}", response=NodeOut, summary="One node")
@needs("viewer", of_node)
def node_read(node: Node) -> NodeOut:
    return NodeOut.of(node)
