"""A node's fence command: what switches its host off for sure (IPMI, a hypervisor), run on the panel's own machine by a worker.

It is words, split as a shell would but never given to one; what varies reaches it as environment: PGPANEL_NODE, PGPANEL_ADDRESS,
PGPANEL_FENCE ("fence" or "test") and the secret as PGPANEL_FENCE_SECRET and IPMI_PASSWORD (`ipmitool -E`). Only an administrator
over all clusters may set it: it runs with the panel's own rights. Exit code 0 means: the host is off.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import record
from clusters import secrets
from clusters.credentials import note, secret_of
from clusters.models import Credential, Node

FENCE_SECONDS = 60.0
OUTPUT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fenced:
    """How a fence command, or its test, ended. output: both voices, the secret masked."""

    works: bool
    output: str


def fence_words(command: str) -> tuple[str, ...]:
    """ValidationError for what is no command: an unbalanced quote, or a program without its whole path."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValidationError(_("This cannot be taken apart into words: %(why)s.") % {"why": error}) from None
    if words and not words[0].startswith("/"):
        raise ValidationError(_("Begin with the whole path of the program, such as /usr/bin/ipmitool."))
    return words


def fence_shown(node: Node) -> str:
    """As plans and logs show it: no secret stands in it."""
    return f"on the panel's machine: {shlex.join(fence_words(node.fence_command))}"


@transaction.atomic
def fence_set(node: Node, command: str, test_command: str, secret: str | None = None) -> None:
    """secret: None leaves the kept one, "" forgets it."""
    for words in (command, test_command):
        fence_words(words)
    node.fence_command, node.fence_test_command = command.strip(), test_command.strip()
    node.fence_tested_at, node.fence_test_works, node.fence_test_output = None, None, ""
    before = node.fence_secret
    if secret is not None:
        node.fence_secret = _kept(node, secret) if secret else None
    node.save()
    if before is not None and before != node.fence_secret:
        before.delete()
    kept = "as it was" if secret is None else "replaced" if secret else "forgotten"
    programs = {"program": _program(command), "test": _program(test_command)}
    record("fence.set", node.name, cluster=node.cluster.name, detail={**programs, "secret": kept})


def _program(command: str) -> str:
    """Of a fence command that is recorded: its arguments may hold a password that somebody wrote there."""
    return next(iter(fence_words(command)), "")


def _kept(node: Node, secret: str) -> Credential:
    credential = Credential.objects.create(
        kind=Credential.Kind.FENCE, label=_("fence of %(node)s") % {"node": node.name}, cluster=node.cluster,
        purpose=f"fence:{node.name}", sealed=secrets.seal(secret),
    )  # fmt: skip
    note("credential.make", credential)
    return credential


def fence_test(node: Node) -> Fenced:
    """Ask the same device without changing anything; the answer is kept for the node's page. From a task."""
    found = _run(node, node.fence_test_command, "test")
    Node.objects.filter(pk=node.pk).update(
        fence_asked_at=None, fence_tested_at=timezone.now(), fence_test_works=found.works, fence_test_output=found.output
    )
    return found


def fence(node: Node) -> Fenced:
    """Switch the host off. From a worker."""
    return _run(node, node.fence_command, "fence")


def _run(node: Node, command: str, what: str) -> Fenced:
    words = fence_words(command)
    if not words:
        return Fenced(works=False, output=_("No such command is set for %(node)s.") % {"node": node.name})
    secret = secret_of(node.fence_secret).value if node.fence_secret else ""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": tempfile.gettempdir(),
        "PGPANEL_NODE": node.name, "PGPANEL_ADDRESS": node.ssh_host, "PGPANEL_FENCE": what,
    }  # fmt: skip
    if secret:
        environment |= {"PGPANEL_FENCE_SECRET": secret, "IPMI_PASSWORD": secret}
    try:
        works, said = _ended(words, environment)
    except OSError as error:
        works, said = False, f"{words[0]}: {error.strerror or error}"
    return Fenced(works, said.replace(secret, "********") if secret else said)


def _ended(words: tuple[str, ...], environment: dict[str, str]) -> tuple[bool, str]:
    """Its own process group, so that all that it started ends with it when its time is over."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            code = process.wait(FENCE_SECONDS)
            ending = "" if code == 0 else f"\nexit code {code}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code, ending = -1, f"\nended after {FENCE_SECONDS:g} s without an answer"
        output.seek(0)
        return code == 0, (output.read(OUTPUT_BYTES).decode(errors="replace") + ending).strip()
