"""The end of a node's server log, when somebody asks for it: bounded, with secrets hidden, read through SSH by a worker."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from accounts.audit import record
from clusters.credentials import secret_of
from clusters.models import Credential, Node
from clusters.secrets import EncryptionKeyLost
from clusters.services import access_of, paths_of
from monitor.models import LogTail
from pgpanel.redaction import Redactor
from remote.command import Command, Secret, script
from remote.errors import HostError
from remote.host import Host
from remote.layouts import Paths
from remote.visible import brief_line, storable

logger = logging.getLogger(__name__)

LINES = 200
MOST_BYTES = 256 * 1024
ASKED_FOR = timedelta(seconds=30)
"""So long a page believes that somebody is reading."""
CONNECT_SECONDS, WITHIN_SECONDS = 5.0, 20.0

# $1 data directory, $2 the layout's log file, $3 service, $4 lines, $5 bytes. First where the server itself says that it writes
# (10 and later), then what postgresql-common knows, the newest file of a collector, the layout's file, the journal.
_SCRIPT = r"""
within() { case $1 in /*) printf %s "$1" ;; *) printf %s "$data/$1" ;; esac; }
data=$1 file=
if [ -r "$data/current_logfiles" ]; then
  said=$(awk '$1 == "stderr" || $1 == "csvlog" || $1 == "jsonlog" { sub(/^[a-z]+ /, ""); print; exit }' "$data/current_logfiles")
  [ -n "$said" ] && file=$(within "$said")
fi
if [ ! -r "$file" ] && command -v pg_lsclusters >/dev/null 2>&1; then
  file=$(pg_lsclusters -h 2>/dev/null | awk -v data="$data" '$6 == data { print $7; exit }' | cut -d, -f1)
fi
if [ ! -r "$file" ]; then
  for place in log pg_log; do
    newest=$(ls -t "$data/$place" 2>/dev/null | head -n 1)
    [ -n "$newest" ] && { file=$data/$place/$newest; break; }
  done
fi
[ -r "$file" ] || file=$2
if [ -f "$file" ] && [ -r "$file" ]; then
  printf '%s\n' "$file"
  tail -c "$5" "$file" | tail -n "$4"
elif [ -n "$3" ] && command -v journalctl >/dev/null 2>&1 && journalctl -u "$3" -n 1 --no-pager >/dev/null 2>&1; then
  printf 'journal of %s\n' "$3"
  journalctl -u "$3" -n "$4" --no-pager -o short-iso | tail -c "$5"
else
  echo "no log that $(id -un) may read: looked for $file" >&2
  exit 3
fi
"""


def command(paths: Paths) -> Command:
    return script(
        _SCRIPT, paths.data_directory, paths.log_file, paths.service, str(LINES), str(MOST_BYTES),
        user=paths.owner, environment=(("LC_ALL", "C"),), timeout_seconds=WITHIN_SECONDS, mutates=False,
    )  # fmt: skip


def is_asking(tail: LogTail | None) -> bool:
    return bool(tail and tail.asked_at and timezone.now() - tail.asked_at < ASKED_FOR)


def ask(node: Node) -> LogTail:
    """Have it read by a worker; nothing more while that is under way."""
    tail, _made = LogTail.objects.get_or_create(node=node)
    if is_asking(tail):
        return tail
    tail.asked_at = timezone.now()
    tail.save(update_fields=["asked_at"])
    record("node.log", node.name, cluster=node.cluster.name)
    transaction.on_commit(lambda: _enqueue(node))
    return tail


def _enqueue(node: Node) -> None:
    from monitor.tasks import read_log  # noqa: PLC0415 — tasks import this module

    try:
        read_log.delay(node.pk)
    except OperationalError:
        logger.exception("the queue cannot be reached")
        _keep(node.pk, error=_("The panel's queue (Redis) cannot be reached, so nobody reads it."))


def read(node_id: int) -> None:
    """What a worker does."""
    node = Node.objects.select_related("cluster", "credential").filter(pk=node_id).first()
    if node is None:
        return
    try:
        with Host(access_of(node), node.name, connect_timeout_seconds=CONNECT_SECONDS) as host:
            result = host.run(command(paths_of(node)), check=False)
    except (HostError, EncryptionKeyLost) as error:
        _keep(node_id, error=str(error))
        return
    if result.exit_code != 0:
        _keep(node_id, error=brief_line(result.stderr, 400))
        return
    source, _newline, text = result.stdout.partition("\n")
    _keep(node_id, source=brief_line(source, 400), lines=hidden(text, _secrets(node)))


def hidden(text: str, secrets: list[Secret]) -> str:
    """As it may be shown: known secrets, and what looks like one, by name; nothing that draws over a page."""
    redactor = Redactor(secrets)
    shown = (redactor.line(line) for line in text.splitlines()[-LINES:])
    return storable("\n".join(line for line in shown if line is not None))


def _secrets(node: Node) -> list[Secret]:
    found = []
    for credential in Credential.objects.filter(cluster=node.cluster_id, kind=Credential.Kind.DATABASE_ROLE):
        try:
            found.append(secret_of(credential))
        except EncryptionKeyLost:
            logger.warning("%s cannot be opened, so it cannot be looked for in a log", credential)
    return found


def _keep(node_id: int, *, source: str = "", lines: str = "", error: str = "") -> None:
    values = {"asked_at": None, "read_at": timezone.now(), "source": source, "lines": lines, "error": error[:500]}
    LogTail.objects.filter(node_id=node_id).update(**values)
