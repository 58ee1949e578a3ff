"""Making, keeping and opening credentials. Nothing here returns a secret other than as `Secret`, and no page ever gets one."""

from __future__ import annotations

import secrets as randomness
import string
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit import record
from clusters import secrets
from clusters.models import Cluster, Credential, Node
from clusters.secrets import EncryptionKeyLost
from pgpanel.keyring import Kept
from remote.command import Secret
from remote.hostkeys import HostKey, generate_key

ROLES = {"replication": "pgpanel_replication", "monitoring": "pgpanel_monitor"}
"""The database roles that the panel makes, by purpose."""


class KeyUnreadable(ValueError):
    """A pasted text is not a private key that can be used; says what it is and what to do."""


def secret_of(credential: Credential) -> Secret:
    """`EncryptionKeyLost` if the panel's keys do not open it: which one, and what to do."""
    try:
        return secrets.open_sealed(credential.sealed, credential.label)
    except EncryptionKeyLost as error:
        raise EncryptionKeyLost(f"{error} {mend_of(credential)}") from None


def mend_of(credential: Credential) -> str:
    """What to do about a secret that no key opens."""
    page = _("on the page “Credentials” of %(cluster)s") % {"cluster": credential.cluster}
    if credential.kind == Credential.Kind.CHANNEL:
        return _("“%(label)s”: enter it again under “Whom alerts wake”.") % {"label": credential.label}
    if credential.cluster is None:
        return _("Discard the draft or the subscription that it belongs to, and begin anew.")
    words = {"label": credential.label, "page": page}
    if is_made_by_panel(credential):
        return _("“%(label)s”: make a new one %(page)s, then complete the set-up.") % words
    return _("“%(label)s”: type it again %(page)s.") % words


def is_made_by_panel(credential: Credential) -> bool:
    """A key that the panel made for the hosts among themselves: nobody could type it."""
    return credential.purpose.startswith("archive:")


def lost_in(cluster: Cluster) -> list[Credential]:
    """What a job on the cluster would need and no key opens."""
    return [each for each in cluster.credentials.prefetch_related("nodes").order_by("label") if not secrets.opens(each.sealed)]


def kept() -> Iterator[Kept]:
    """For `manage.py keys`."""
    for credential in Credential.objects.select_related("cluster").iterator():
        name = f"“{credential.label}”" + (_(" of %(cluster)s") % {"cluster": credential.cluster} if credential.cluster else "")
        yield Kept(name, credential.sealed, mend_of(credential), partial(_swap, credential.pk, credential.sealed))


def _swap(pk: int, before: str, sealed: str) -> bool:
    return bool(Credential.objects.filter(pk=pk, sealed=before).update(sealed=sealed))


def key_make(label: str, cluster: Cluster | None = None, purpose: str = "login") -> Credential:
    private, public = generate_key(f"pgpanel {label}")
    return _made(
        kind=Credential.Kind.SSH_KEY, label=label, cluster=cluster, purpose=purpose,
        sealed=secrets.seal(private.value), public_part=public.strip(),
    )  # fmt: skip


@transaction.atomic
def _made(**fields: Any) -> Credential:
    credential = Credential.objects.create(**fields)
    note("credential.make", credential)
    return credential


def note(action: str, credential: Credential) -> None:
    """Into the audit trail: what it is called and what it is, nothing of the secret."""
    detail = {"kind": credential.kind, "purpose": credential.purpose, "fingerprint": fingerprint(credential.public_part)}
    cluster = credential.cluster.name if credential.cluster else ""
    record(action, credential.label, cluster=cluster, detail={name: value for name, value in detail.items() if value})


def key_from_text(text: str, label: str, cluster: Cluster | None = None) -> Credential:
    """A pasted private key, without a passphrase; `KeyUnreadable` says why not."""
    private, public = _private_and_public(text)
    return _made(
        kind=Credential.Kind.SSH_KEY,
        label=label,
        cluster=cluster,
        purpose="login",
        sealed=secrets.seal(private),
        public_part=public,
    )


def password_keep(password: str, label: str, username: str, cluster: Cluster | None = None) -> Credential:
    return _made(
        kind=Credential.Kind.SSH_PASSWORD, label=label, cluster=cluster, purpose="login",
        username=username, sealed=secrets.seal(password),
    )  # fmt: skip


@transaction.atomic
def secret_replace(credential: Credential, *, key_text: str = "", password: str = "") -> None:
    """Another secret under the same credential: every node that uses it is reached by the new one. `KeyUnreadable` as above."""
    if key_text:
        private, public = _private_and_public(key_text)
        credential.kind, credential.sealed, credential.public_part = Credential.Kind.SSH_KEY, secrets.seal(private), public
    else:
        credential.sealed, credential.public_part = secrets.seal(password), ""
        if credential.purpose == "login":
            credential.kind = Credential.Kind.SSH_PASSWORD
    credential.save()
    note("credential.replace", credential)


@transaction.atomic
def key_renew(credential: Credential) -> None:
    """Another key in place of one that the panel made and cannot read any more; the hosts learn of it by the set-up job."""
    private, public = generate_key(f"pgpanel {credential.label}")
    credential.sealed, credential.public_part = secrets.seal(private.value), public.strip()
    credential.save()
    note("credential.replace", credential)


def role_password(cluster: Cluster, purpose: str, username: str = "") -> tuple[str, Secret]:
    """Name and password of the database role for `purpose`; made (32 characters) when there is none yet."""
    with transaction.atomic():
        Cluster.objects.select_for_update().get(pk=cluster.pk)
        credential = Credential.objects.filter(cluster=cluster, kind=Credential.Kind.DATABASE_ROLE, purpose=purpose).first()
        if credential is None:
            name = username or ROLES.get(purpose, f"pgpanel_{purpose}")
            credential = role_password_keep(cluster, purpose, name, _generated_password())
    return credential.username, Secret(f"{purpose}_password", secret_of(credential).value)


@transaction.atomic
def role_password_keep(cluster: Cluster, purpose: str, username: str, password: str) -> Credential:
    """A role that exists already, with the password that a person typed."""
    credential, is_new = Credential.objects.update_or_create(
        cluster=cluster, kind=Credential.Kind.DATABASE_ROLE, purpose=purpose,
        defaults={"username": username, "label": _("role %(name)s") % {"name": username}, "sealed": secrets.seal(password)},
    )  # fmt: skip
    note("credential.make" if is_new else "credential.replace", credential)
    return credential


NEXT = ".next"
"""Behind a purpose: the password that a role is being given, kept beside the one in force until every node has it."""


def next_role_password(cluster: Cluster, purpose: str) -> Secret:
    """The password that the role for `purpose` is to get; the same until it is in force (`role_password_promote`)."""
    username, _password = role_password(cluster, purpose)
    return role_password(cluster, purpose + NEXT, username)[1]


def next_role_password_since(cluster: Cluster, purpose: str) -> datetime | None:
    """When it was made; None where no change is under way."""
    found = Credential.objects.filter(cluster=cluster, kind=Credential.Kind.DATABASE_ROLE, purpose=purpose + NEXT).first()
    return found.created_at if found else None


def role_password_promote(cluster: Cluster, purpose: str) -> None:
    """The next password becomes the one in force; nothing where there is none (any more)."""
    with transaction.atomic():
        roles = Credential.objects.select_for_update().filter(cluster=cluster, kind=Credential.Kind.DATABASE_ROLE)
        following = roles.filter(purpose=purpose + NEXT).first()
        current = roles.filter(purpose=purpose).first()
        if following and current:
            current.sealed = following.sealed
            current.save(update_fields=["sealed", "changed_at"])
            following.delete()
            note("credential.replace", current)


def archive_key(node: Node) -> tuple[Secret, str]:
    """The key with which `node` sends WAL to the others' archives: (private, public line); made when there is none yet."""
    purpose = f"archive:{node.name}"
    with transaction.atomic():
        Cluster.objects.select_for_update().get(pk=node.cluster_id)
        credential = Credential.objects.filter(cluster=node.cluster_id, kind=Credential.Kind.SSH_KEY, purpose=purpose).first()
        if credential is None:
            credential = key_make(f"archive {node.cluster.name}/{node.name}", node.cluster, purpose)
    return Secret(f"archive_key:{node.name}", secret_of(credential).value), credential.public_part


def fingerprint(public_line: str) -> str:
    """`SHA256:…` of a public key or host key line, as ssh-keygen prints it; "" for a text that is none."""
    try:
        return HostKey.parse(public_line).fingerprint
    except ValueError:
        return ""


def _generated_password() -> str:
    letters = string.ascii_letters + string.digits
    return "".join(randomness.choice(letters) for _position in range(32))


def _private_and_public(text: str) -> tuple[str, str]:
    """The key in OpenSSH form and its public line."""
    data = text.strip().replace("\r\n", "\n").encode() + b"\n"
    if data.startswith(b"ssh-") or b"PUBLIC KEY" in data:
        raise KeyUnreadable(_("This is a public key. Paste the private one: the file without “.pub”."))
    try:
        load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
        key = load(data, password=None)
    except TypeError:
        raise KeyUnreadable(
            _("This key has a passphrase. Paste one without, made for the panel: ssh-keygen -t ed25519 -N ''")
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnreadable(
            _("This is not a private SSH key in OpenSSH or PEM form. Paste the whole file, with its BEGIN and END lines.")
        ) from None
    try:
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnreadable(_("SSH does not take keys of this kind. Make one with: ssh-keygen -t ed25519 -N ''")) from None
    return private.decode(), public.decode()
