"""The other way to look: psql on the host itself, as the owner of the data directory. It works before anything is set up."""

from __future__ import annotations

import time

from monitor import sql
from monitor.probe import ANSWER_SECONDS, MOST_MESSAGE, cause_of
from monitor.sight import Sight, Unseen
from monitor.watch import NodeTarget
from remote import versions
from remote.command import Command, script
from remote.errors import HostError
from remote.host import Host
from remote.visible import brief_line

CONNECT_SECONDS = 3.0

# Line 4 and 5 of postmaster.pid are the port and the socket's directory: builds differ in where they put it.
_PSQL = """
[ -r "$1/postmaster.pid" ] || { echo "PostgreSQL is not running: no postmaster.pid in $1" >&2; exit 3; }
port=$(sed -n 4p "$1/postmaster.pid") socket=$(sed -n 5p "$1/postmaster.pid")
psql="$2/psql"; [ -x "$psql" ] || psql=psql
exec "$psql" -XqAtw -F "$(printf '\\037')" -v ON_ERROR_STOP=1 ${socket:+-h "$socket"} ${port:+-p "$port"} -d postgres -f -
"""


class SshLook:
    """Looks at one node through a connection that it keeps open. For one thread at a time."""

    def __init__(self, target: NodeTarget) -> None:
        self.target = target
        self._host: Host | None = None
        self._major = target.major

    def look(self) -> Sight | Unseen:
        try:
            if not self._major:
                self._major = versions.major_of(self._psql("SHOW server_version_num").strip())
            version = versions.of(self._major)
            sent_at = time.time()
            rows = sql.rows_of(self._psql(sql.statement(version, is_thorough=True, as_owner=True)))
            return sql.sight_of(rows, version, sent_at, time.time(), "ssh")
        except HostError as error:
            self.close()
            return Unseen(time.time(), f"ssh-{error.cause}", str(error))
        except PsqlFailed as failure:
            return Unseen(time.time(), failure.cause, str(failure))
        except ValueError as error:  # an answer that is none
            return Unseen(time.time(), "other", str(error))

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

    def _psql(self, statement: str) -> str:
        if self._host is None:
            self._host = Host(self.target.access, self.target.name, connect_timeout_seconds=CONNECT_SECONDS)
        result = self._host.run(psql(self.target, statement), check=False)
        if result.exit_code != 0:
            raise PsqlFailed(result.stderr)
        return result.stdout


class PsqlFailed(Exception):
    def __init__(self, stderr: str) -> None:
        super().__init__(brief_line(stderr, MOST_MESSAGE))
        self.cause = cause_of(stderr[:10_000])


def psql(target: NodeTarget, statement: str) -> Command:
    """Read-only, with a time limit on the server's side as well."""
    options = f"-c statement_timeout={int(ANSWER_SECONDS * 1000)} -c default_transaction_read_only=on"
    environment = (("LC_ALL", "C"), ("PGCONNECT_TIMEOUT", "3"), ("PGAPPNAME", "pgpanel monitor"), ("PGOPTIONS", options))
    return script(
        _PSQL, target.data_directory, target.bin_directory, user=target.owner, stdin=f"{statement};\n",
        environment=environment, timeout_seconds=2 * ANSWER_SECONDS, mutates=False,
    )  # fmt: skip
