"""Making and changing people. What they may do on which cluster is `clusters.Grant`."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts.models import User


@transaction.atomic
def first_administrator(username: str, password: str) -> User | None:
    """The first person, administrator over all; None if there is somebody already."""
    if User.objects.exists():
        return None
    return User.objects.create_superuser(username=username, password=password)


@transaction.atomic
def person_create(username: str, password: str) -> User:
    """ValidationError when the name is taken or the password too weak."""
    user = User(username=username)
    user.full_clean(exclude=["password"])
    validate_password(password, user)
    user.set_password(password)
    user.save()
    return user
