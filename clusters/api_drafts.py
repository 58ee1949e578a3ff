"""The API of adding: a new cluster, an import, a further node. Hosts are looked at by a worker, so each begins a draft (202) that
goes on by itself: an expected host key is accepted, and the cluster made as soon as nothing is in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema

from accounts.models import User
from clusters import adding, drafts, services, unattended
from clusters.api_routers import clusters, nodes
from clusters.api_schemas import ClusterOut
from clusters.credentials import KeyUnreadable
from clusters.forms import LAYOUT_CHOICES, HostForm
from clusters.looks import line_to_paste
from clusters.models import Cluster, Credential, Draft, DraftHost
from clusters.rights import Role, require
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import Page
from pgpanel.rest.problems import Fault, Problem, form_invalid
from pgpanel.rest.rules import Name, Number, Scope, needs, of_cluster, oneself, over_all
from remote.layouts import OVERRIDABLE

router = Router(tags=["Adding clusters and nodes"])

Fingerprint = Field("", max_length=80, examples=["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDGHb0ncMQYcJEb1yM"],
                    description="The host key that you expect, as ssh-keygen -lf prints it. Another one is refused; empty: it is "
                    "shown, and has to be accepted.")  # fmt: skip
Port = Field(5432, ge=1, le=65535)


class HostIn(Schema):
    name: Name
    ssh_host: str = Field(max_length=253, examples=["10.0.0.1"])
    ssh_port: int = Field(22, ge=1, le=65535)
    ssh_user: str = Field("root", max_length=63)
    host_key: str = Fingerprint
    postgres_port: int = Port
    node_address: str = Field("", max_length=253, description="By which the other nodes reach it; empty: the SSH address.")
    jump_host: str = Field("", max_length=253)
    jump_port: int = Field(22, ge=1, le=65535)
    jump_user: str = Field("", max_length=63)
    jump_host_key: str = Fingerprint


class NodeIn(HostIn):
    host_key: str = Field(min_length=8, max_length=80, description="The expected fingerprint: without it a node is not added.",
                          examples=["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDGHb0ncMQYcJEb1yM"])  # fmt: skip
    credential: Number | None = Field(None, description="One of the cluster's; without: the one that its first node uses.")
    password: str = Field(
        "", max_length=500, description="Where that is a password: it is only sent to another host if you know it."
    )


class AccessIn(Schema):
    method: Literal["made-key", "pasted-key", "password-once", "password-kept"] = Field(
        "made-key", description="made-key: the panel makes a key, `key_to_install` says what to put on the hosts."
    )
    private_key: str = Field("", max_length=20_000)
    password: str = Field("", max_length=500)


class AddingIn(Schema):
    name: Name = Field(description="Of the cluster.")
    hosts: list[HostIn] = Field(min_length=1, max_length=16)
    access: AccessIn = Field(default_factory=lambda: AccessIn.model_validate({}))
    primary: str = Field("", max_length=39, description="The primary's name, where it is not obvious.")
    finish: bool = Field(True, description="Make the cluster as soon as nothing is in the way; else by POST …/finish.")


class ProblemFound(Schema):
    host: str
    level: Literal["refused", "warning"]
    reason: str
    mend: str
    command: str


class PeerFound(Schema):
    address: str
    port: int
    name: str
    relation: Literal["standby", "upstream"]
    of: str


class FoundPostgres(Schema):
    data_directory: str
    version: str
    port: int
    role: str
    is_running: bool


class DraftHostOut(Schema):
    name: Name
    ssh_host: str
    status: Literal["new", "asking", "host-key", "seen", "refused"]
    shown_host_key: str = Field(description="The fingerprint that it shows and nobody has accepted yet.")
    error: str
    mend: str
    is_primary: bool
    data_directory: str = Field(description="The chosen database cluster; empty: none there yet.")
    layout: str
    found: list[FoundPostgres]


class DraftOut(Schema):
    id: UUID
    kind: Literal["setup", "import", "add-node"]
    status: Literal["looking", "waiting", "refused", "done"] = Field(
        description="looking: ask again; waiting: for you (`in_the_way` says for what); refused: a host is, and says why."
    )
    cluster: str | None = Field(description="The cluster that it became, or that it adds a node to.")
    in_the_way: str
    key_to_install: str = Field(description="With `made-key`: the line to run on every host, as its login account.")
    hosts: list[DraftHostOut]
    problems: list[ProblemFound]
    peers: list[PeerFound]
    created_at: datetime

    @staticmethod
    def of(draft: Draft) -> DraftOut:
        hosts = list(draft.hosts.all())
        is_open = draft.page != drafts.DONE
        problems = drafts.problems_of(draft) if is_open and hosts and all(host.facts for host in hosts) else []
        made = draft.made_key if is_open and draft.access == Draft.Access.MADE_KEY else None
        return DraftOut(
            id=draft.uuid, kind=cast(Any, draft.kind), status=_status(draft, hosts),
            cluster=draft.cluster.name if draft.cluster else None,
            in_the_way=_in_the_way(draft, hosts) if is_open else "", key_to_install=line_to_paste(made.public_part) if made else "",
            hosts=[_host(host) for host in hosts],
            problems=[ProblemFound(host=one.name, level=one.level, reason=str(one.reason), mend=str(one.mend), command=one.command)
                      for one in problems],
            peers=[PeerFound(address=one.address, port=one.port, name=one.name, relation=one.relation, of=one.of)
                   for one in (drafts.peers_of(draft) if is_open else [])],
            created_at=draft.created_at,
        )  # fmt: skip


def _status(draft: Draft, hosts: Sequence[DraftHost]) -> Any:
    if draft.page == drafts.DONE:
        return "done"
    statuses = {host.status for host in hosts}
    if DraftHost.Status.ASKING in statuses:
        return "looking"
    if DraftHost.Status.REFUSED in statuses:
        return "refused"
    return "looking" if unattended.is_working(draft) else "waiting"


def _in_the_way(draft: Draft, hosts: Sequence[DraftHost]) -> str:
    said = str(draft.data.get("unattended", {}).get("error", ""))
    return drafts.draft_is_ready(draft) or said if hosts else said


def _host(host: DraftHost) -> DraftHostOut:
    facts = drafts.facts_of(host)
    found = [
        FoundPostgres(data_directory=one.data_directory, version=one.version or one.major, port=one.port, role=one.role,
                      is_running=one.is_running)
        for one in (facts.clusters if facts else ())
    ]  # fmt: skip
    same = {
        name: getattr(host, name)
        for name in ("name", "ssh_host", "status", "error", "mend", "is_primary", "data_directory", "layout")
    }
    return DraftHostOut(**same, shown_host_key=host.offered_fingerprint, found=found)


def draft_found(user: User, role: Role, path: Mapping[str, Any]) -> Draft:
    """A draft belongs to whoever began it."""
    draft = Draft.objects.filter(uuid=path["draft"], user=user).select_related("cluster", "made_key", "typed").first()
    if draft is None:
        raise Http404(_("No such draft."))
    if draft.page != drafts.DONE:
        require(user, role, draft.cluster)
    return draft


of_draft = Scope("draft", draft_found, {"draft": UUID})


# -- beginning one ----------------------------------------------------------------------------------------------------------------


@clusters.post("/clusters", response={202: DraftOut}, summary="Add a new cluster of these hosts")
@needs("administrator", over_all)
def cluster_add(request: HttpRequest, body: AddingIn) -> HttpResponse:
    """Nothing changes on the hosts; replication is set up by a job (`setup`) afterwards. Ask `Location` until it is done."""
    return _begun(request, body, Draft.Kind.SETUP)


@router.post("/imports", response={202: DraftOut}, summary="Import a replication that runs")
@needs("administrator", over_all)
def cluster_import(request: HttpRequest, body: AddingIn) -> HttpResponse:
    """Name the primary; the standbys that it names stand in `peers`, to be added with their host keys. Nothing changes there."""
    return _begun(request, body, Draft.Kind.IMPORT)


def _begun(request: HttpRequest, body: AddingIn, kind: str) -> HttpResponse:
    access = body.access
    rows = _rows(body.hosts, "hosts.")
    if len({row["name"] for row in rows}) < len(rows):
        raise Problem(422, "not-valid", "Two hosts have one name.", [Fault("Two hosts have one name.", "hosts")])
    names = {"name": "name", "private_key": "access.private_key", "password": "access.password", "__all__": "name"}
    with _told(names):
        draft = adding.begin(
            cast(User, request.user), kind, rows, name=body.name, access=access.method, key_text=access.private_key,
            password=access.password, finish=body.finish, primary=body.primary,
        )  # fmt: skip
    return _answer(draft)


@nodes.post("/clusters/{name}/nodes", response={202: DraftOut}, summary="Add a node, by its expected host key")
@needs("administrator", of_cluster)
def node_add(request: HttpRequest, cluster: Cluster, body: NodeIn) -> HttpResponse:
    """If the host shows another key the node is not added, and the draft says which one was shown."""
    own = cluster.credentials.filter(purpose="login", kind__in=(Credential.Kind.SSH_KEY, Credential.Kind.SSH_PASSWORD))
    first = cluster.nodes.select_related("credential").first()
    credential = own.filter(pk=body.credential).first() if body.credential else first.credential if first else None
    if credential is None:
        raise Problem(422, "not-valid", "No such credential of this cluster.", [Fault("No such credential.", "credential")])
    login: dict[str, Any] = {"credential": credential}
    if credential.kind == Credential.Kind.SSH_PASSWORD:
        login = {"access": Draft.Access.PASSWORD_KEPT, "password": body.password}
    with _told({}):
        rows = _rows([body], "")
        draft = adding.begin(cast(User, request.user), Draft.Kind.ADD_NODE, rows, cluster=cluster, **login)
    return _answer(draft)


def _rows(hosts: Sequence[HostIn], prefix: str) -> list[dict[str, Any]]:
    """Validated by the wizard's own form."""
    rows = []
    for number, host in enumerate(hosts):
        form = HostForm(host.model_dump())
        if not form.is_valid():
            place = f"{prefix}{number}." if prefix else ""
            raise form_invalid(form.errors, {field: f"{place}{field}" for field in form.fields})
        rows.append(form.cleaned_data | {"host_key": host.host_key, "jump_host_key": host.jump_host_key})
    return rows


class _told:  # noqa: N801 — reads as a word
    """What the services refuse, as problems that name the body's fields."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, KeyUnreadable):
            raise Problem(422, "not-valid", str(error), [Fault(str(error), "access.private_key")]) from None
        if isinstance(error, services.OtherKeyOffered):
            raise Problem(409, "other-host-key", str(error), [Fault(str(error), "fingerprint")]) from None
        if isinstance(error, drafts.DraftNotReady):
            raise Problem(409, "draft-not-ready", str(error), [Fault(str(error))]) from None
        if isinstance(error, ValidationError):
            found = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
            raise form_invalid(found, self.names) from None


def _answer(draft: Draft, status: int = 202) -> HttpResponse:
    draft.refresh_from_db()
    return answered(status, DraftOut.of(draft), location=f"/api/v1/drafts/{draft.uuid}")


# -- going on with it -------------------------------------------------------------------------------------------------------------


@router.get("/drafts", response=Page[DraftOut], summary="Your drafts that have not become clusters yet")
@needs(None, oneself)
def draft_list(user: User) -> object:
    found = Draft.objects.filter(user=user).exclude(data={}).exclude(page=drafts.DONE).select_related("cluster", "made_key")
    return {"items": [DraftOut.of(draft) for draft in found], "next": None}


@router.get("/drafts/{draft}", response=DraftOut, summary="How far a draft is")
@needs("administrator", of_draft)
def draft_read(draft: Draft) -> DraftOut:
    return DraftOut.of(draft)


class KeyIn(Schema):
    host: Name
    fingerprint: str = Field(max_length=80, description="Of the key that it shows, compared by you.")


@router.post("/drafts/{draft}/accept", response={202: DraftOut}, summary="Accept the host key that a host shows")
@needs("administrator", of_draft)
def draft_accept(draft: Draft, body: KeyIn) -> HttpResponse:
    host = _host_of(draft, body.host)
    with _told({}):
        drafts.draft_accept(host, body.fingerprint)
    adding.look(draft)
    return _answer(draft)


@router.post("/drafts/{draft}/look", response={202: DraftOut}, summary="Look at its hosts again")
@needs("administrator", of_draft)
def draft_look(draft: Draft) -> HttpResponse:
    _open(draft)
    adding.look(draft)
    return _answer(draft)


class PeerIn(Schema):
    address: str = Field(max_length=253)
    host_key: str = Fingerprint


@router.post("/drafts/{draft}/peers", response={202: DraftOut}, summary="Take in a server that another one named")
@needs("administrator", of_draft)
def draft_peer(draft: Draft, body: PeerIn) -> HttpResponse:
    _open(draft)
    with _told({}):
        adding.peer_add(draft, body.address, body.host_key)
    return _answer(draft)


class ChoiceIn(Schema):
    host: Name
    data_directory: str = Field("", max_length=500, description="Of one of the database clusters found; empty: a new standby.")
    layout: Literal[tuple(name for name, _label in LAYOUT_CHOICES)] = "debian"  # type: ignore[valid-type]
    overrides: dict[Literal[OVERRIDABLE], str] = {}  # type: ignore[valid-type]


class ChoicesIn(Schema):
    primary: str = Field("", max_length=39)
    hosts: list[ChoiceIn] = Field([], max_length=16)


@router.put("/drafts/{draft}/choices", response=DraftOut, summary="Say which database cluster is meant, and where it lies")
@needs("administrator", of_draft, 409)
def draft_choose(draft: Draft, body: ChoicesIn) -> DraftOut:
    _open(draft)
    choices = {}
    for one in body.hosts:
        facts = drafts.facts_of(_host_of(draft, one.host))
        found = {each.data_directory for each in facts.clusters} if facts else set()
        if one.data_directory and one.data_directory not in found:
            raise Problem(422, "not-valid", "No such database cluster there.", [
                Fault("No such database cluster was found.", "hosts.data_directory", one.host, ", ".join(sorted(found))),
            ])  # fmt: skip
        choices[one.host] = one.model_dump()
    drafts.draft_choose(draft, body.primary, choices)
    draft.data = {**draft.data, "unattended": {**draft.data["unattended"], "primary": body.primary}}
    draft.save(update_fields=["data"])
    return DraftOut.of(draft)


@router.post("/drafts/{draft}/finish", response={201: ClusterOut}, summary="Make the cluster of it now")
@needs("administrator", of_draft)
def draft_finish(draft: Draft) -> HttpResponse:
    _open(draft)
    with _told({}):
        cluster = unattended.finish(draft, is_asked=True)
    assert cluster is not None
    return answered(201, ClusterOut.of(cluster), location=f"/api/v1/clusters/{cluster.name}")


@router.delete("/drafts/{draft}", response={204: None}, summary="Forget it, with the secrets given for it")
@needs("administrator", of_draft)
def draft_discard(draft: Draft) -> HttpResponse:
    drafts.draft_discard(draft)
    return answered(204, None)


def _open(draft: Draft) -> None:
    if draft.page == drafts.DONE or "unattended" not in draft.data:
        said = _("This draft is done, or belongs to the pages.")
        raise Problem(409, "draft-done", said, [Fault(said)])


def _host_of(draft: Draft, name: str) -> DraftHost:
    _open(draft)
    host = draft.hosts.filter(name=name).first()
    if host is None:
        raise Problem(422, "not-valid", "No such host in this draft.", [Fault("No such host.", "host", name)])
    return host
