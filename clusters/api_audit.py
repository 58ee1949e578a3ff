"""The API of the audit trail: who did what, from where, and what came of it; of what one administers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from ninja import Field, Query, Router, Schema

from accounts.audit_search import Search
from accounts.trail import AuditEntry
from clusters.rights import entries_for
from pgpanel.rest.paging import After, Limit, Page, When, paged
from pgpanel.rest.rules import Scope, needs

router = Router(tags=["Audit"])


class EntryOut(Schema):
    number: int
    at: datetime
    who: str
    door: str = Field(description="page, api, command, panel")
    address: str
    token: str = Field(description="The API token's name.")
    action: str = Field(examples=["job.start"])
    target: str
    cluster: str
    plan_hash: str
    result: str
    detail: dict[str, Any]
    previous: str = Field(description="The hash of the entry before: the chain.")
    hash: str

    @staticmethod
    def of(row: AuditEntry) -> EntryOut:
        return EntryOut(**{name: getattr(row, name) for name in EntryOut.model_fields})


class EntriesWanted(Schema):
    who: str = Field("", max_length=150, pattern=r"^[^\x00]*$")
    action: str = Field("", max_length=60, pattern="^[a-z_.]*$", description='A whole one, or its noun ("job").')
    cluster: str = Field("", max_length=39, pattern="^[a-z0-9-]*$")
    text: str = Field("", max_length=200, pattern=r"^[^\x00]*$", description="Anywhere in an entry.")
    since: When | None = None
    until: When | None = Field(None, description="Exclusive.")


of_trail = Scope("some cluster", lambda user, _role, _path: entries_for(user), {})


@router.get("/audit", response=Page[EntryOut], summary="The trail, newest first: all of it, or what concerns your clusters")
@needs("administrator", of_trail)
def entry_list(entries: QuerySet[AuditEntry], wanted: Query[EntriesWanted], after: After = "", limit: Limit = 100) -> object:
    """For administrators; 403 for whoever administers nothing. Whether it is whole says `manage.py audit verify`."""
    found = Search(**wanted.model_dump()).of(entries)
    return paged(found, after, limit, EntryOut.of, key="number", newest_first=True)
