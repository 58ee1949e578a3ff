"""The envelope: one command wrapped for its way to a host. Pure text; `remote/host.py` sends it and reads its answer.

Whatever shell the login has, it only sees `BOOTSTRAP`, a line that means the same to all of them. The envelope follows as the first
line of standard input; what comes after that line is the command's own input. So nothing of it stands in a process list before it
runs, and quoting is done once, for `/bin/sh`.

Inside, in this order: become the user, set a known environment (`LC_ALL=C`, no PG* variables of the login), take the lock and prove
the epoch (changing commands only), print the token on both voices, run the command. What precedes the token was printed by profile
scripts, sudo or PAM and is no output of ours. The envelope's own words, on the error voice, one a line, are:

    <token> outer <session> <pid>          who logged in, as a session that can be ended
    <token>?                               sudo asks for the password (its prompt: it is sent only now)
    <token> stop epoch <seen> | stop lock | stop flock | stop state
    <token> begin <group> <session>        from here on it is the command that speaks
"""

from __future__ import annotations

import re
import shlex

from remote.access import Lock
from remote.command import Command

BOOTSTRAP = """exec /bin/sh -c 'IFS= read -r s && eval "$(printf %b "$s")"'"""
STOPPED = 97
LOCK_WAIT_SECONDS = 30
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
LOCK_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# what libpq and the server's programs read: a login's own settings must not lead a command to another server
LIBPQ = (
    "PGDATA PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE"
)
LIBPQ += " PGSSLCERT PGSSLKEY PGSSLROOTCERT PGREQUIRESSL PGCLIENTENCODING PGTZ PGDATESTYLE PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS"

# $1 state, $2 parent, $3 group, $4 session …: fields of /proc/PID/stat after the name, which may itself contain anything
OWN_STAT = 'read -r stat </proc/$$/stat; set -- ${stat##*") "}'
ENVIRONMENT = f"""\
LC_ALL=C LANG=C PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL LANG PATH
unset LANGUAGE CDPATH ENV BASH_ENV {LIBPQ}
cd "$HOME" 2>/dev/null || cd /
"""
# The lock is `~owner/.pgpanel/locks/<key>`, `<key>.epoch` the highest claim seen there; the owner is who owns the databases.
# Its own commands and root's meet there, however one logs in; any other account (and root, where there is no such owner) has a lock
# of its own. Root only opens it to read, which is enough for flock; what has to be written is written as the owner, so that a link
# put there leads root nowhere. The shell that holds it waits for the command, even when the panel is gone.
LOCK = """\
stop() {{ printf '\\n%s stop %s\\n' {token} "$1" >&2; exit {stopped}; }}
as_keeper() {{ sh -c "$1"; }}
home=$HOME
if [ "$(id -u)" = 0 ] && [ {owner} != root ] && id -u {owner} >/dev/null 2>&1; then
    home=$(eval "printf %s ~{owner}")
    if command -v runuser >/dev/null; then as_keeper() {{ runuser -s /bin/sh {owner} -c "$1"; }}
    else as_keeper() {{ su -s /bin/sh {owner} -c "$1"; }}; fi
fi
lock=$home/.pgpanel/locks/{key}
command -v flock >/dev/null || stop flock
[ -f "$lock" ] || as_keeper 'umask 077; mkdir -p ~/.pgpanel/locks && : >>~/.pgpanel/locks/{key}'
[ -f "$lock" ] && [ -r "$lock" ] || stop state
exec 9<"$lock"
tries=0
until flock -n 9; do tries=$((tries + 1)); [ $tries -lt {tries} ] || stop lock; sleep 0.1; done
seen=0
[ ! -r "$lock.epoch" ] || read -r seen <"$lock.epoch"
case $seen in ''|*[!0-9]*) seen=0 ;; esac
[ "$seen" -le {epoch} ] || stop "epoch $seen"
[ "$seen" -eq {epoch} ] || as_keeper 'umask 077; cd ~/.pgpanel/locks && echo {epoch} >{key}.new && mv {key}.new {key}.epoch &&
    sync {key}.epoch' 9<&- || stop state
"""


def one_line(script: str) -> bytes:
    """The script as one line of printable ASCII that `printf %b` turns back into itself, byte by byte."""
    plain = {ord("\n"): "\\n", ord("\\"): "\\\\"}
    return "".join(
        plain.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\0{byte:03o}")
        for byte in script.encode("utf-8", "surrogateescape")
    ).encode()


def become(login: str, user: str, token: str, has_password: bool) -> str:
    """The words that run `sh -c INNER` as `user`; `{inner}` stands for the quoted script. Empty when the login is that user."""
    if user in ("", login):
        return ""
    if login == "root":
        # su's own form, which works on hosts of every age; both ask nothing of root and do not mind a locked account
        return (
            f"if command -v runuser >/dev/null; then runuser -s /bin/sh {user} -c {{inner}}\n"
            f"else su -s /bin/sh {user} -c {{inner}}; fi"
        )
    asking = f"-S -p '{token}?'" if has_password else "-n"
    return f"LC_ALL=C sudo {asking} -H -u {user} -- /bin/sh -c {{inner}}"


def inner_script(command: Command, token: str, lock: Lock | None, state_owner: str) -> str:
    """What runs as the command's user. The lock is held by this shell, never by what it starts: a daemon must not keep it."""
    guard = ""
    if lock and command.mutates:
        guard = LOCK.format(
            token=token, stopped=STOPPED, owner=state_owner, key=lock.key, epoch=int(lock.epoch), tries=LOCK_WAIT_SECONDS * 10
        )
    begin = f"{OWN_STAT}\nprintf '\\n%s\\n' {token}; printf '\\n%s begin %s %s\\n' {token} \"$3\" \"$4\" >&2\n"
    redirections = ("" if command.stdin is not None else " </dev/null") + (" 9<&-" if guard else "")
    return f"{ENVIRONMENT}{guard}{begin}{{ {command.text}\n}}{redirections}"


def envelope(command: Command, token: str, *, login: str, has_password: bool, lock: Lock | None, state_owner: str) -> bytes:
    """The first line of standard input for `BOOTSTRAP`."""
    for name in (command.user, state_owner):
        if name and not USER_NAME.fullmatch(name):
            raise ValueError(f"not the name of an account: {name!r}")
    if lock and not LOCK_KEY.fullmatch(lock.key):
        raise ValueError(f"not a key for a lock: {lock.key!r}")
    inner = inner_script(command, token, lock, state_owner)
    how = become(login, command.user, token, has_password)
    body = how.replace("{inner}", shlex.quote(inner)) if how else inner
    outer = f"{OWN_STAT}\nprintf '\\n%s outer %s %s\\n' {token} \"$4\" $$ >&2\n"
    return one_line(outer + body) + b"\n"
