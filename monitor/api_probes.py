"""“Who is primary now?” for load balancers and scripts: plain text, 200 or 503, from what the collector last saw.

Besides a token, a cluster may let given networks ask without one: many load balancers cannot send a header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal, cast

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Query, Router
from ninja.errors import Throttled

from accounts.acting import address_of
from accounts.models import User
from clusters import connections
from clusters.models import Cluster, Node, Quarantine
from clusters.observing import primary_of
from clusters.rights import Role, cluster_or_404, node_or_404
from monitor.probes import PROBES, Looked, Said, looked, said_of, those
from pgpanel.rest.login import LOGINS, PerAddress
from pgpanel.rest.rules import Name, Scope, needs
from remote.config import setting_bytes


class Prober(AnonymousUser):
    """Somebody without a token in a network that a cluster named: may ask these questions of that cluster, and nothing else."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster


def from_a_named_network(request: HttpRequest) -> Prober | None:
    """ninja asks this before the tokens; None: those decide."""
    if request.headers.get("Authorization"):
        return None
    match = request.resolver_match
    cluster = Cluster.objects.filter(name=match.kwargs.get("name", "") if match else "").first()
    if cluster is None or not _is_within(address_of(request), cluster.probe_networks):
        return None
    if not PerAddress().allow_request(request):
        raise Throttled(1)
    request.user = Prober(cluster)
    return request.user


def _is_within(address: str, networks: list[str]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ip_network(network) for network in networks)


def _cluster(user: User | Prober, role: Role, path: Mapping[str, Any]) -> Cluster:
    if not isinstance(user, Prober):
        return cluster_or_404(user, path["name"], role)
    if user.cluster.name != path["name"]:
        raise Http404(_("No such cluster."))
    return user.cluster


def _node(user: User | Prober, role: Role, path: Mapping[str, Any]) -> Node:
    if not isinstance(user, Prober):
        return node_or_404(user, path["name"], path["node"], role)
    node = _cluster(user, role, path).nodes.select_related("state", "cluster").filter(name=path["node"]).first()
    if node is None:
        raise Http404(_("No such node."))
    return node


probed_cluster = Scope("cluster", _cluster, {"name": Name}, lambda found: cast(Cluster, found))
probed_node = Scope("node", _node, {"name": Name, "node": Name}, lambda found: cast(Node, found).cluster)
router = Router(tags=["Who is primary?"], auth=[from_a_named_network, *LOGINS])

Lag = Annotated[
    str,
    Query("", pattern=r"^([0-9]{1,12}(B|kB|MB|GB|TB)?)?$", description="At most so far behind: bytes, or 16kB, 10MB, 1GB.",
          examples=["10MB"]),
]  # fmt: skip
PLAIN = "text/plain; charset=utf-8"
TEXT = {"text/plain": {"schema": {"type": "string"}}}


def told(yes: str, no: str) -> dict[str, Any]:
    age = {"X-Seen-Seconds-Ago": {"schema": {"type": "number"}, "description": "How old the look behind this is."}}
    return {"responses": {200: {"description": yes, "content": TEXT, "headers": age}, 503: {"description": no, "content": TEXT}}}


# -- of a cluster ------------------------------------------------------------------------------------------------------------------


@router.get(
    "/clusters/{name}/primary", response=None, summary="Where the primary is: host:port",
    openapi_extra=told("host:port of the primary", "None is seen, or it was seen too long ago: why"),
)  # fmt: skip
@needs("viewer", probed_cluster)
def cluster_primary(cluster: Cluster) -> HttpResponse:
    return _places(cluster, "primary")


@router.get(
    "/clusters/{name}/replica", response=None, summary="Where standbys are: one host:port a line",
    openapi_extra=told("host:port of each standby", "None is seen, or all are too far behind: why"),
)  # fmt: skip
@needs("viewer", probed_cluster)
def cluster_replica(cluster: Cluster, lag: Lag = "") -> HttpResponse:
    return _places(cluster, "replica", _bytes(lag))


def _places(cluster: Cluster, probe: str, most_bytes: int | None = None) -> HttpResponse:
    yes, said = those(_looked(cluster), probe, timezone.now(), most_bytes)
    ages = [each.age_seconds for each in said if each.is_yes and each.age_seconds is not None]
    if len(yes) > 1 and probe == "primary":
        return _answer(503, "more than one node takes writes: " + ", ".join(node.name for node in yes), max(ages))
    if yes:
        return _answer(200, "\n".join(node.place for node in yes), max(ages))
    return _answer(503, "\n".join(each.why for each in said) or "it has no nodes", None)


Session = Literal["read-write", "prefer-standby"]
Form = Literal["libpq", "uri", "jdbc", "psycopg", ""]
Identifier = Annotated[str, Query(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]


LINES = "One a line, after its form and a tab; only the string where a form is asked for"


@router.get(
    "/clusters/{name}/connection-strings", response=None, summary="Connection strings that find the primary by themselves",
    openapi_extra={"responses": {200: {"description": LINES, "content": TEXT}}},
)  # fmt: skip
@needs("viewer", probed_cluster)
def cluster_connection_strings(
    cluster: Cluster, database: Identifier = "mydb", user: Identifier = "myuser", session: Session = "read-write", form: Form = ""
) -> HttpResponse:
    """They name all nodes, so that they hold after the next switchover, too, and need the panel no more once they are read."""
    nodes = list(cluster.nodes.select_related("state"))
    strings = connections.strings(nodes, primary_of(nodes), database, user, session)
    wanted = [one for one in strings if form in ("", one.form)]
    return HttpResponse("".join(f"{one.text}\n" if form else f"{one.form}\t{one.text}\n" for one in wanted), content_type=PLAIN)


# -- of a node ---------------------------------------------------------------------------------------------------------------------


def _asking(probe: str) -> Callable[..., HttpResponse]:
    def ask(node: Node, lag: Lag = "") -> HttpResponse:
        quarantined = Quarantine.objects.filter(node=node, lifted_at=None).exists()
        said: Said = said_of(looked(node, node.cluster.sample_interval_seconds, quarantined), probe, timezone.now(), _bytes(lag))
        return _answer(200 if said.is_yes else 503, said.why, said.age_seconds)

    ask.__name__ = f"node_is_{probe.replace('-', '_')}"
    return ask


for word, (meaning, _ask) in PROBES.items():
    path, answers = f"/clusters/{{name}}/nodes/{{node}}/{word}", told("Yes", "No, or not known: why")
    router.get(path, response=None, summary=meaning, openapi_extra=answers)(needs("viewer", probed_node)(_asking(word)))


# -- how ---------------------------------------------------------------------------------------------------------------------------


def _looked(cluster: Cluster) -> list[Looked]:
    held = set(Quarantine.objects.filter(node__cluster=cluster, lifted_at=None).values_list("node_id", flat=True))
    return [looked(node, cluster.sample_interval_seconds, node.pk in held) for node in cluster.nodes.select_related("state")]


def _bytes(lag: str) -> int | None:
    return setting_bytes(lag, "B") if lag else None


def _answer(status: int, text: str, age_seconds: float | None) -> HttpResponse:
    answer = HttpResponse(f"{text}\n", status=status, content_type=PLAIN, headers={"Cache-Control": "no-store"})
    if age_seconds is not None:
        answer["X-Seen-Seconds-Ago"] = f"{age_seconds:.1f}"
    return answer
