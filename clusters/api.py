"""The API of what we have: clusters and nodes. What a page does, an endpoint does by the same service and the same form."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model
from django.forms import ModelForm, model_to_dict
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Schema

from accounts.models import User
from clusters import api_audit, api_drafts, api_kept, api_people, services, tasks
from clusters.api_routers import clusters as router
from clusters.api_routers import nodes
from clusters.api_schemas import ClusterOut, FactsOut, NodeOut, OfferOut
from clusters.forms import ClusterForm, NodeForm
from clusters.models import Cluster, Node
from clusters.observing import evidence_of, evidence_refresh
from clusters.offers import offers_of
from clusters.rights import clusters_for
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.problems import Fault, Problem, form_invalid
from pgpanel.rest.rules import Name, needs, of_cluster, of_node, oneself
from pgpanel.rest.topology import tag_of

ROUTERS = (router, nodes, api_drafts.router, api_kept.router, api_people.router, api_audit.router)

ACTIVE_JOB = ("queued", "running")
M = TypeVar("M", bound=Model)


def unused(cluster: Cluster) -> None:
    """What runs there counts on what is known of it."""
    if cluster.jobs.filter(status__in=ACTIVE_JOB).exists():
        said = _("A job runs on this cluster: wait for its end.")
        raise Problem(409, "cluster-busy", said, [Fault(said)])


def patched(form_class: type[ModelForm[M]], row: M, patch: dict[str, Any], more: dict[str, Any] | None = None) -> ModelForm[M]:
    """The form that the page sends, filled with what is there and what the call changes; its errors as a problem."""
    form = form_class(model_to_dict(row) | (more or {}) | patch, instance=row)
    if not form.is_valid():
        raise form_invalid(form.errors)
    return form


# -- clusters ---------------------------------------------------------------------------------------------------------------------


@router.get("/clusters", response=Page[ClusterOut], summary="Clusters that you may see")
@needs(None, oneself)
def cluster_list(user: User, after: After = "", limit: Limit = 100) -> object:
    return paged(clusters_for(user), after, limit, ClusterOut.of, key="name")


@router.get("/clusters/{name}", response=ClusterOut, summary="One cluster; its topology is the ETag")
@needs("viewer", of_cluster)
def cluster_read(cluster: Cluster) -> HttpResponse:
    return answered(200, ClusterOut.of(cluster), etag=tag_of(cluster))


class ClusterPatch(Schema):
    name: Name | None = None
    description: str | None = Field(None, max_length=200)
    sample_interval_seconds: float | None = Field(None, ge=0.5, le=60)


@router.patch("/clusters/{name}", response=ClusterOut, summary="Change its name, description or how often it is looked at")
@needs("administrator", of_cluster)
def cluster_edit(cluster: Cluster, body: ClusterPatch) -> HttpResponse:
    form = patched(ClusterForm, cluster, body.model_dump(exclude_none=True))
    services.cluster_save(form.save(commit=False), form.changed_data)
    return answered(200, ClusterOut.of(cluster), etag=tag_of(cluster))


@router.delete("/clusters/{name}", response={204: None}, summary="Forget a cluster; its servers run on as they are")
@needs("administrator", of_cluster)
def cluster_remove(cluster: Cluster) -> HttpResponse:
    unused(cluster)
    services.cluster_remove(cluster)
    return answered(204, None)


@router.get(
    "/clusters/{name}/offers", response=list[OfferOut], summary="What makes sense now, in words, what mends something first"
)
@needs("viewer", of_cluster)
def offer_list(cluster: Cluster) -> list[OfferOut]:
    return [OfferOut.of(offer) for offer in offers_of(cluster, list(cluster.nodes.select_related("state", "cluster")))]


# -- is the primary dead? ---------------------------------------------------------------------------------------------------------


class ObservationOut(Schema):
    observer: str = Field(description="The panel, or a node from whose host was asked.")
    by: str = Field(description="ssh, tcp, sql, receiver, fence")
    says: str = Field(description="alive, stopped, no-answer, unknown")
    at: float = Field(description="Epoch seconds.")
    detail: str


class CandidateOut(Schema):
    name: Name
    is_best: bool
    why_not: str = Field(description="Empty: it may take over.")
    loss: str = Field(description="What promoting it would lose, in a sentence.")
    is_lossless: bool


class EvidenceOut(Schema):
    primary: str | None
    verdict: str = Field(description="alive, stopped_proven, unreachable, only_panel_blind, cannot_tell")
    sentence: str
    mend: str = Field(description="The one safe next thing to do.")
    way: str = Field(description="salvage, fence, or empty: nothing may be promoted now.")
    observations: list[ObservationOut]
    candidates: list[CandidateOut]
    quarantined: list[str]
    gathered_at: datetime | None
    is_asking: bool = Field(description="An answer is on its way.")
    error: str

    @staticmethod
    def of(cluster: Cluster) -> EvidenceOut:
        found = evidence_of(cluster)
        return EvidenceOut(
            primary=found.primary.name if found.primary else None, verdict=found.verdict.kind, sentence=found.verdict.sentence,
            mend=found.verdict.mend, way=found.verdict.way, gathered_at=found.gathered_at, is_asking=found.is_asking,
            error=found.error,
            quarantined=list(found.quarantined),
            observations=[ObservationOut(observer=one.observer, by=one.by, says=one.says, at=one.at, detail=one.detail)
                          for one in found.observations],
            candidates=[CandidateOut(name=one.name, is_best=one.is_best, why_not=one.why_not, loss=one.sentence,
                                     is_lossless=one.is_proven_zero or one.is_zero_after_salvage) for one in found.candidates],
        )  # fmt: skip


@router.get("/clusters/{name}/evidence", response=EvidenceOut, summary="What is proven of the primary, and who could take over")
@needs("viewer", of_cluster)
def evidence_read(cluster: Cluster) -> HttpResponse:
    return answered(200, EvidenceOut.of(cluster), etag=tag_of(cluster))


@router.post("/clusters/{name}/evidence", response={202: EvidenceOut}, summary="Ask everybody about the primary again")
@needs("viewer", of_cluster)
def evidence_ask(cluster: Cluster) -> HttpResponse:
    """By a worker, within some 12 seconds; no host is changed. Ask until `is_asking` is false."""
    evidence_refresh(cluster)
    return answered(202, EvidenceOut.of(cluster), location=f"/api/v1/clusters/{cluster.name}/evidence")


# -- nodes ------------------------------------------------------------------------------------------------------------------------


@nodes.get("/clusters/{name}/nodes", response=Page[NodeOut], summary="Its nodes")
@needs("viewer", of_cluster)
def node_list(cluster: Cluster, after: After = "", limit: Limit = 100) -> object:
    return paged(cluster.nodes.select_related("state", "cluster"), after, limit, NodeOut.of, key="name")


@nodes.get("/clusters/{name}/nodes/{node}", response=NodeOut, summary="One node")
@needs("viewer", of_node)
def node_read(node: Node) -> NodeOut:
    return NodeOut.of(node)


@nodes.get("/clusters/{name}/nodes/{node}/facts", response=FactsOut, summary="What the last look at its host found")
@needs("viewer", of_node)
def node_facts(node: Node) -> FactsOut:
    return FactsOut.of(node)


class NodePatch(Schema):
    """Its host key falls where the address changes: it has to be accepted again."""

    name: Name | None = None
    ssh_host: str | None = Field(None, max_length=253)
    ssh_port: int | None = Field(None, ge=1, le=65535)
    ssh_user: str | None = Field(None, max_length=63)
    node_address: str | None = Field(None, max_length=253)
    postgres_port: int | None = Field(None, ge=1, le=65535)
    jump_host: str | None = Field(None, max_length=253)
    jump_port: int | None = Field(None, ge=1, le=65535)
    jump_user: str | None = Field(None, max_length=63)
    password: str | None = Field(
        None, max_length=500, description="By which it is logged into; needed where it is by password and the address changes."
    )
    layout: str | None = Field(None, max_length=20, examples=["debian"])
    overrides: dict[str, str] | None = Field(None, description="Instead of the layout's own paths and commands; replaces all.")


@nodes.patch("/clusters/{name}/nodes/{node}", response=NodeOut, summary="Change how it is reached or where its things lie")
@needs("administrator", of_node)
def node_edit(node: Node, body: NodePatch) -> NodeOut:
    unused(node.cluster)
    patch = body.model_dump(exclude_none=True)
    overrides = patch.pop("overrides", node.overrides)
    known = {name.removeprefix("own_") for name in NodeForm(instance=node).fields if name.startswith("own_")}
    if strange := sorted(set(overrides) - known):
        raise Problem(422, "not-valid", "No layout says that.", [Fault("No layout says that.", f"overrides.{strange[0]}")])
    form = patched(NodeForm, node, patch, {f"own_{name}": overrides.get(name, "") for name in known})
    services.node_save(form.save(commit=False), form.changed_data, form.cleaned_data.get("password", ""))
    node.refresh_from_db()
    return NodeOut.of(node)


@nodes.delete("/clusters/{name}/nodes/{node}", response={204: None}, summary="Forget a node; it runs on as it is")
@needs("administrator", of_node)
def node_remove(node: Node) -> HttpResponse:
    unused(node.cluster)
    services.node_remove(node)
    return answered(204, None)


@nodes.post("/clusters/{name}/nodes/{node}/look", response={202: NodeOut}, summary="Look at its host now")
@needs("operator", of_node)
def node_look(node: Node) -> HttpResponse:
    """By a worker; ask the node until `tried_at` has changed."""
    tasks.start_look_at_node(node)
    return answered(202, NodeOut.of(node), location=f"/api/v1/clusters/{node.cluster.name}/nodes/{node.name}")


class HostKeyIn(Schema):
    fingerprint: str = Field(max_length=80, examples=["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDGHb0ncMQYcJEb1yM"])


@nodes.post("/clusters/{name}/nodes/{node}/host-key", response={202: NodeOut}, summary="Accept the host key that it shows")
@needs("administrator", of_node)
def node_accept(node: Node, body: HostKeyIn) -> HttpResponse:
    """Only if it is the one with this fingerprint (`offered_host_key`); then its host is looked at."""
    try:
        services.accept_offered_key(node, body.fingerprint)
    except services.OtherKeyOffered as error:
        fault = Fault(str(error), "fingerprint", node.name, node.offered_fingerprint and f"It shows {node.offered_fingerprint}.")
        raise Problem(409, "other-host-key", str(error), [fault]) from None
    tasks.start_look_at_node(node)
    return answered(202, NodeOut.of(node))


@nodes.delete(
    "/clusters/{name}/nodes/{node}/host-key", response={202: NodeOut}, summary="Forget the key of a host that was reinstalled"
)
@needs("administrator", of_node)
def node_rekey(node: Node) -> HttpResponse:
    """The new one is shown then (`offered_host_key`); nothing is trusted by this."""
    unused(node.cluster)
    services.forget_host_key(node)
    tasks.start_look_at_node(node)
    return answered(202, NodeOut.of(node))
