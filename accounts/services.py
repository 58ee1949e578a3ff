"""Making and changing people. What they may do on which cluster is `clusters.Grant`."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts.audit import record
from accounts.models import User


@transaction.atomic
def first_administrator(username: str, password: str) -> User | None:
    """The first person, administrator over all; None if there is somebody already."""
    if User.objects.exists():
        return None
    user = User.objects.create_superuser(username=username, password=password)
    record("person.make", username, detail={"administrator": True})
    return user


@transaction.atomic
def person_create(username: str, password: str) -> User:
    """ValidationError when the name is taken or the password too weak."""
    user = User(username=username)
    user.full_clean(exclude=["password"])
    validate_password(password, user)
    user.set_password(password)
    user.save()
    record("person.make", username)
    return user


@transaction.atomic
def service_create(username: str) -> User:
    """A program's account: nobody can log in with it, its tokens can call the API. ValidationError when the name is taken."""
    user = User(username=username, is_service=True)
    user.set_unusable_password()
    user.full_clean(exclude=["password"])
    user.save()
    record("person.make", username, detail={"service": True})
    return user


@transaction.atomic
def person_let_in(user: User, *, is_active: bool) -> None:
    """Somebody who is shut out is out at his next request, and keeps his roles."""
    user.is_active = is_active
    user.save(update_fields=["is_active"])
    record("person.let_in" if is_active else "person.shut_out", user.get_username())
