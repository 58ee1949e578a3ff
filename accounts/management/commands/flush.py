"""`manage.py flush` as Django's own: it empties the whole panel, for which the audit trail's guards come off and on again."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from accounts import guards


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with guards.lifted(connections[options["database"]]):
            super().handle(**options)
