"""`manage.py openapi`: writes `docs/openapi.json` anew; `--check` says whether it is current (exit code 1)."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from pgpanel.api import api

FILE = settings.BASE_DIR / "docs" / "openapi.json"


def document() -> str:
    return json.dumps(api.get_openapi_schema(), indent=1, sort_keys=True, default=str, ensure_ascii=False) + "\n"


class Command(BaseCommand):
    help = "Writes docs/openapi.json, the API's description for programs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file is not current")

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        if not check:
            FILE.write_text(document())
        elif not FILE.exists() or FILE.read_text() != document():
            raise CommandError("docs/openapi.json is not what the API is: run `python manage.py openapi`.")
