"""The API of what is kept secret: credentials and fence commands. Write-only: no answer holds a secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema

from clusters import credentials as keeping
from clusters import tasks
from clusters.fence_page import FenceForm
from clusters.fencing import fence_set
from clusters.models import Cluster, Credential, Node
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import Page
from pgpanel.rest.problems import Fault, Problem, form_invalid
from pgpanel.rest.rules import Number, Scope, needs, of_cluster, of_node, over_node

router = Router(tags=["Credentials and fences"])


class CredentialOut(Schema):
    id: Number
    kind: str = Field(description="ssh-key, ssh-password, database-role, fence")
    label: str
    purpose: str
    username: str
    fingerprint: str = Field(description="Of a key's public part.")
    nodes: list[str] = Field(description="Those that are reached by it.")
    created_at: datetime
    changed_at: datetime

    @staticmethod
    def of(row: Credential) -> CredentialOut:
        same = {name: getattr(row, name) for name in ("kind", "label", "purpose", "username", "created_at", "changed_at")}
        names = sorted(node.name for node in row.nodes.all())
        return CredentialOut(id=row.pk, **same, fingerprint=keeping.fingerprint(row.public_part), nodes=names)


@router.get("/clusters/{name}/credentials", response=Page[CredentialOut], summary="What is stored, never the secrets")
@needs("administrator", of_cluster)
def credential_list(cluster: Cluster) -> object:
    rows = cluster.credentials.prefetch_related("nodes").order_by("kind", "label", "pk")
    return {"items": [CredentialOut.of(row) for row in rows], "next": None}


class SecretIn(Schema):
    private_key: str = Field("", max_length=20_000, description="Either this, without a passphrase,")
    password: str = Field("", max_length=500, description="or this.")


def _credential(user: Any, role: Any, path: Any) -> Credential:
    cluster = of_cluster.find(user, role, path)
    row = cluster.credentials.select_related("cluster").prefetch_related("nodes").filter(pk=path["id"], purpose="login").first()
    if row is None:
        raise Http404(_("No such credential."))
    return cast(Credential, row)


of_credential = Scope("credential", _credential, {**of_cluster.path, "id": Number}, lambda row: cast(Credential, row).cluster)


@router.put("/clusters/{name}/credentials/{id}", response=CredentialOut, summary="A new secret in place of the stored one")
@needs("administrator", of_credential)
def credential_replace(credential: Credential, body: SecretIn) -> CredentialOut:
    """For all nodes that use it; the old one is gone from the panel."""
    if bool(body.private_key) == bool(body.password):
        said = _("Give either a private key or a password.")
        raise Problem(422, "not-valid", said, [Fault(said, "private_key")])
    try:
        keeping.secret_replace(credential, key_text=body.private_key, password=body.password)
    except keeping.KeyUnreadable as error:
        raise Problem(422, "not-valid", str(error), [Fault(str(error), "private_key")]) from None
    return CredentialOut.of(credential)


# -- fences -----------------------------------------------------------------------------------------------------------------------


class FenceOut(Schema):
    command: str = Field(description="Run on the panel's own machine; exit code 0 means: the host is off.")
    test_command: str
    has_secret: bool
    is_asking: bool = Field(description="A test is under way.")
    tested_at: datetime | None
    test_works: bool | None
    test_output: str

    @staticmethod
    def of(node: Node) -> FenceOut:
        return FenceOut(
            command=node.fence_command, test_command=node.fence_test_command, has_secret=node.fence_secret_id is not None,
            is_asking=node.fence_asked_at is not None, tested_at=node.fence_tested_at, test_works=node.fence_test_works,
            test_output=node.fence_test_output,
        )  # fmt: skip


class FenceIn(Schema):
    command: str = Field("", max_length=500, examples=["/usr/bin/ipmitool -I lanplus -H 10.0.9.1 -U admin -E chassis power off"])
    test_command: str = Field("", max_length=500)
    secret: str | None = Field(None, max_length=500, description="Handed over as IPMI_PASSWORD; null: as it is; empty: forgotten.")


@router.get("/clusters/{name}/nodes/{node}/fence", response=FenceOut, summary="How its host is switched off for sure")
@needs("operator", of_node)
def fence_read(node: Node) -> FenceOut:
    return FenceOut.of(node)


@router.put("/clusters/{name}/nodes/{node}/fence", response=FenceOut, summary="Set it: it runs on the panel's own machine")
@needs("administrator", over_node)
def fence_write(node: Node, body: FenceIn) -> FenceOut:
    """For administrators over all clusters only."""
    form = FenceForm(body.model_dump(include={"command", "test_command"}))
    if not form.is_valid():
        raise form_invalid(form.errors)
    try:
        fence_set(node, form.cleaned_data["command"], form.cleaned_data["test_command"], body.secret)
    except ValidationError as error:
        raise form_invalid({"command": error.messages}) from None
    return FenceOut.of(node)


@router.post("/clusters/{name}/nodes/{node}/fence/test", response={202: FenceOut}, summary="Ask the same device, change nothing")
@needs("operator", of_node)
def fence_test(node: Node) -> HttpResponse:
    """By a worker; read the fence until `is_asking` is false."""
    tasks.start_fence_test(node)
    node.refresh_from_db()
    return answered(202, FenceOut.of(node), location=f"/api/v1/clusters/{node.cluster.name}/nodes/{node.name}/fence")
