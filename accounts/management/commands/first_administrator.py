"""`manage.py first_administrator`: the first person who may log in, made once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.services import first_administrator


class Command(BaseCommand):
    help = "Makes the first administrator if there is nobody yet, and prints the password once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument(
            "--password-file",
            type=Path,
            help="take the password from this file; where it does not exist, write the generated one to it (0600)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        file: Path | None = options["password_file"]
        is_given = file is not None and file.exists()
        password = file.read_text().strip() if file and is_given else secrets.token_urlsafe(15)
        user = first_administrator(options["username"], password)
        if user is None:
            self.stdout.write("There are people already; nothing changed.")
        elif is_given:
            self.stdout.write(f"Made {user.username}, with the password of {file}.")
        elif file:
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(password + "\n")
            self.stdout.write(f"Made {user.username}; the password stands in {file}.")
        else:
            self.stdout.write(f"Made {user.username}. Password, shown this once: {password}")
