"""`manage.py webhook_schema`: writes docs/webhooks.schema.json from the catalog; `--check` says whether it is current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webhooks.catalog import schema

FILE = Path(settings.BASE_DIR) / "docs" / "webhooks.schema.json"


class Command(BaseCommand):
    help = "Writes the JSON Schema of webhooks to docs/webhooks.schema.json."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is not current")

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        text = json.dumps(schema(), indent=2) + "\n"
        if not check:
            FILE.write_text(text)
        elif not FILE.is_file() or FILE.read_text() != text:
            raise CommandError(f"{FILE.name} is not what the catalog says: run `manage.py webhook_schema`")
