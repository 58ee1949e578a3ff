"""The API of who may: oneself, tokens, people and service accounts, roles."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema

from accounts import services as accounts
from accounts.models import ApiToken, User
from accounts.tokens import token_revoke
from clusters import tokens
from clusters.granting import grant_give, grant_take
from clusters.models import Cluster, Grant
from clusters.rights import clusters_for, require
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, When, paged
from pgpanel.rest.problems import Fault, Problem
from pgpanel.rest.rules import Name, Number, Scope, needs, oneself, over_all

router = Router(tags=["People and tokens"])

RoleName = Literal["viewer", "operator", "administrator"]


# -- oneself ----------------------------------------------------------------------------------------------------------------------


class MeOut(Schema):
    username: str
    is_service: bool
    token: str | None = Field(description="The name of the token by which you come; null: a session.")
    at_most: RoleName | None = Field(description="The token's role; null: no limit.")
    clusters: dict[str, RoleName] = Field(description="What you may there, by cluster.")


@router.get("/me", response=MeOut, summary="Who you are here, and what you may")
@needs(None, oneself)
def me(request: HttpRequest, user: User) -> MeOut:
    token = getattr(request, "api_token", None)
    roles = {
        cluster.name: role for role in Grant.Role.values for cluster in clusters_for(user, cast(RoleName, role))
    }  # a later role includes the earlier ones
    return MeOut(
        username=user.get_username(), is_service=user.is_service, token=token.name if token else None,
        at_most=cast(RoleName, user.limits.role) if user.limits else None, clusters=cast(dict[str, RoleName], roles),
    )  # fmt: skip


# -- tokens -----------------------------------------------------------------------------------------------------------------------


class TokenOut(Schema):
    id: str = Field(description="The part of the token that may be seen.", examples=["k3j9x0q2vz"])
    user: str
    name: str
    role: RoleName = Field(description="At most; never more than its user may.")
    clusters: list[Name] | None = Field(description="On these only; null: wherever its user may.")
    networks: list[str] = Field(description="From these only; empty: from everywhere.")
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str

    @staticmethod
    def of(row: ApiToken) -> TokenOut:
        return TokenOut(**_token(row))


class TokenMade(TokenOut):
    secret: str | None = Field(description="The token itself, this once; null where the call is repeated.",
                               examples=["pgp_k3j9x0q2vz_…"])  # fmt: skip


def _token(row: ApiToken) -> dict[str, Any]:
    same = ("name", "role", "networks", "created_at", "expires_at", "revoked_at", "last_used_at", "last_used_from")
    names = sorted(scope.cluster.name for scope in row.scopes.all()) if row.is_scoped else None
    return {"id": row.public_id, "user": row.user.username, "clusters": names, **{name: getattr(row, name) for name in same}}


class TokenIn(Schema):
    name: str = Field(min_length=1, max_length=80, pattern=r"\S", examples=["nightly rehearsal"])
    role: RoleName = "viewer"
    clusters: list[Name] | None = Field(None, max_length=100, description="On these only; null: wherever its user may.")
    networks: list[str] = Field([], max_length=50, examples=[["10.0.0.0/24"]])
    expires_at: When | None = Field(None, description="Within a year; without: in 90 days.")
    user: str = Field("", max_length=150, description="A service account; empty: yourself.")


def token_found(user: User, _role: Any, path: Any) -> ApiToken:
    row = tokens.tokens_for(user).filter(public_id=path["id"]).first()
    if row is None:
        raise Http404(_("No such token."))
    return row


of_token = Scope("token", token_found, {"id": str})


@router.get("/tokens", response=Page[TokenOut], summary="Your tokens; for administrators over all, service accounts' too")
@needs(None, oneself)
def token_list(user: User, after: After = "", limit: Limit = 100) -> object:
    return paged(tokens.tokens_for(user), after, limit, TokenOut.of, newest_first=True)


@router.post("/tokens", response={201: TokenMade}, summary="Make a token; its secret is answered this once")
@needs(None, oneself)
def token_make(user: User, body: TokenIn) -> HttpResponse:
    """For yourself in the browser's session only: a token does not make another of its own user."""
    whose = User.objects.filter(username=body.user).first() if body.user else user
    if whose is None or (whose != user and not whose.is_service):
        raise Problem(422, "not-valid", _("No such service account."), [Fault(_("No such service account."), "user")])
    chosen = None if body.clusters is None else list(clusters_for(user).filter(name__in=body.clusters))
    if chosen is not None and len(chosen) < len(set(body.clusters or ())):
        raise Problem(422, "not-valid", _("No such cluster."), [Fault(_("Name clusters that you may see."), "clusters")])
    row, secret = tokens.token_create(
        user, whose, body.name, body.role, expires_at=body.expires_at, networks=body.networks, clusters=chosen
    )
    return answered(201, TokenMade(**_token(row), secret=secret), location=f"/api/v1/tokens/{row.public_id}")


@router.get("/tokens/{id}", response=TokenOut, summary="One token")
@needs(None, of_token)
def token_read(token: ApiToken) -> TokenOut:
    return TokenOut.of(token)


@router.delete("/tokens/{id}", response=TokenOut, summary="Revoke a token: it counts no more")
@needs(None, of_token)
def token_end(token: ApiToken) -> TokenOut:
    token_revoke(token)
    token.refresh_from_db()
    return TokenOut.of(token)


# -- people and roles -------------------------------------------------------------------------------------------------------------


class GrantOut(Schema):
    id: Number
    user: str
    role: RoleName
    cluster: Name | None = Field(description="null: over all clusters.")

    @staticmethod
    def of(row: Grant) -> GrantOut:
        return GrantOut(
            id=row.pk, user=row.user.username, role=cast(RoleName, row.role), cluster=row.cluster.name if row.cluster else None
        )


class PersonOut(Schema):
    id: Number
    username: str
    is_active: bool
    is_service: bool
    is_superuser: bool = Field(description="Administrator over all, always.")
    last_login: datetime | None
    grants: list[GrantOut]

    @staticmethod
    def of(row: User) -> PersonOut:
        same = ("username", "is_active", "is_service", "is_superuser", "last_login")
        return PersonOut(
            id=row.pk, grants=[GrantOut.of(one) for one in row.grants.all()], **{name: getattr(row, name) for name in same}
        )


class PersonIn(Schema):
    username: str = Field(min_length=1, max_length=150)
    full_name: str = Field("", max_length=150)
    is_service: bool = Field(False, description="A program's account: comes by token only.")


class PersonPatch(Schema):
    is_active: bool = Field(description="False: shut out at once, roles are kept.")


def person_found(user: User, role: Any, path: Any) -> User:
    require(user, role, None)
    row = User.objects.filter(pk=path["id"]).first()
    if row is None:
        raise Http404(_("No such person."))
    return row


def grant_found(user: User, role: Any, path: Any) -> Grant:
    require(user, role, None)
    row = Grant.objects.select_related("user", "cluster").filter(pk=path["id"]).first()
    if row is None:
        raise Http404(_("No such role."))
    return row


of_person = Scope("all", person_found, {"id": Number})
of_grant = Scope("all", grant_found, {"id": Number})


@router.get("/people", response=Page[PersonOut], summary="People and service accounts, with their roles")
@needs("administrator", over_all)
def person_list(after: After = "", limit: Limit = 100) -> object:
    return paged(User.objects.prefetch_related("grants__cluster", "grants__user"), after, limit, PersonOut.of, key="pk")


@router.post("/people", response={201: PersonOut}, summary="Let somebody in: without a role they see nothing")
@needs("administrator", over_all)
def person_add(body: PersonIn) -> HttpResponse:
    """A person chooses the password by a link (`POST …/link`); a service account comes by token only."""
    named = {"full_name": body.full_name}
    made = accounts.service_create(body.username) if body.is_service else accounts.person_create(body.username, **named)
    return answered(201, PersonOut.of(made), location=f"/api/v1/people/{made.pk}")


class LinkOut(Schema):
    link: str | None = Field(description="Works once; null where the call is repeated.")


@router.post("/people/{id}/link", response={201: LinkOut}, summary="A link by which this person chooses a password")
@needs("administrator", of_person)
def person_link(request: HttpRequest, person: User) -> HttpResponse:
    """Hand it over yourself: it is kept nowhere."""
    if person.is_service or not person.is_active:
        said = _("Not for service accounts, nor for somebody who is shut out.")
        raise Problem(409, "no-link", said, [Fault(said)])
    return answered(201, LinkOut(link=request.build_absolute_uri(accounts.sign_in_path(person))))


@router.get("/people/{id}", response=PersonOut, summary="One person")
@needs("administrator", of_person)
def person_read(person: User) -> PersonOut:
    return PersonOut.of(person)


@router.patch("/people/{id}", response=PersonOut, summary="Let somebody in, or not any more")
@needs("administrator", of_person, 409)
def person_edit(request: HttpRequest, person: User, body: PersonPatch) -> PersonOut:
    if person.pk == request.user.pk and not body.is_active:
        raise Problem(409, "yourself", _("You cannot shut yourself out."), [Fault(_("You cannot shut yourself out."), "is_active")])
    if person.is_active != body.is_active:
        accounts.person_let_in(person, is_active=body.is_active)
    return PersonOut.of(person)


class GrantIn(Schema):
    user: str = Field(max_length=150)
    role: RoleName
    cluster: Name | None = Field(None, description="null: over all clusters.")


@router.post("/grants", response={201: GrantOut}, summary="Give a role; it replaces the one that was there")
@needs("administrator", over_all)
def grant_add(body: GrantIn) -> HttpResponse:
    user = User.objects.filter(username=body.user, is_active=True).first()
    cluster = Cluster.objects.filter(name=body.cluster).first() if body.cluster else None
    if user is None or (body.cluster and cluster is None):
        said = _("No such person.") if user is None else _("No such cluster.")
        raise Problem(422, "not-valid", said, [Fault(said, "user" if user is None else "cluster")])
    return answered(201, GrantOut.of(grant_give(user, cluster, body.role)))


@router.delete("/grants/{id}", response={204: None}, summary="Take a role back")
@needs("administrator", of_grant)
def grant_remove(grant: Grant) -> HttpResponse:
    grant_take(grant)
    return answered(204, None)
