"""`manage.py person link | forget-factors NAME`: a way back in for whoever is locked out, from the panel's own machine."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import services
from accounts.models import User


class Command(BaseCommand):
    help = "Lets somebody back in who has lost the password or the second factor."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        link = actions.add_parser("link", help="prints a link, once, by which this person chooses a password")
        link.add_argument("--url", default="http://127.0.0.1:8000", help="how the panel is reached")
        forget = actions.add_parser("forget-factors", help="authenticator app, keys and recovery codes are forgotten")
        for action in (link, forget):
            action.add_argument("name")

    def handle(self, *, action: str, name: str, **options: Any) -> None:
        user = User.objects.filter(username=name, is_active=True, is_service=False).first()
        if user is None:
            raise CommandError(f"Nobody who may sign in is called {name!r}.")
        if action == "link":
            self.stdout.write(options["url"].rstrip("/") + services.sign_in_path(user))
        else:
            services.person_forget_factors(user)
            self.stdout.write(f"{name} signs in without a second factor until a new one is set up.")
