"""Making and changing people, and letting them in and out. What they may do on which cluster is `clusters.Grant`."""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.urls import reverse

from accounts.audit import record
from accounts.models import User
from accounts.sessions import sessions_end


@transaction.atomic
def first_administrator(username: str, password: str) -> User | None:
    """The first person, administrator over all; None if there is somebody already."""
    if User.objects.exists():
        return None
    user = User.objects.create_superuser(username=username, password=password)
    record("person.make", username, detail={"administrator": True})
    return user


@transaction.atomic
def person_create(username: str, password: str = "", *, full_name: str = "") -> User:
    """Without a password they choose it by a link (`sign_in_path`).

    ValidationError when the name is taken or the password too weak.
    """
    first_name, _, last_name = full_name.strip().partition(" ")
    user = User(username=username, first_name=first_name, last_name=last_name)
    user.full_clean(exclude=["password"])
    if password:
        validate_password(password, user)
        user.set_password(password)
    else:
        user.set_unusable_password()
    user.save()
    record("person.make", username)
    return user


def sign_in_path(user: User) -> str:
    """Where this person chooses a password: once, until they have signed in, for `PASSWORD_RESET_TIMEOUT`. Kept nowhere."""
    key = default_token_generator.make_token(user)
    record("person.link", user.username)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(user), "key": key})


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
    """Or not any more: then every session ends; the roles are kept."""
    user.is_active = is_active
    user.save(update_fields=["is_active"])
    if not is_active:
        sessions_end(user)
    record("person.let_in" if is_active else "person.shut_out", user.get_username())


@transaction.atomic
def person_forget_factors(user: User) -> None:
    """Whoever lost the phone signs in without it, and sets a new one up. Every session ends."""
    count, _rows = Authenticator.objects.filter(user=user).delete()
    sessions_end(user)
    record("person.forget_factors", user.username, detail={"factors": count})
