"""Long commands that outlive whoever started them: scripts for the host, and the reading of their answers. Pure.

Each lives under `~user/.pgpanel/jobs/<job>/<step>/` (mode 700):

    script   the command, as it runs            log    its output, both voices
    pid      "<pid> <start> <boot id>"          exit   its exit code, written last, by rename

`start` is the process's start time from /proc, so that a pid that was given to another process, or to nobody after a reboot, is not
taken for ours. The command leads a session of its own: logging out does not end it, and ending it ends the whole session. Its
standard input goes through a pipe and never lies on the disk. (Where systemd has KillUserProcesses=yes, logging out ends it all the
same: `loginctl enable-linger postgres`.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from remote.command import Command, Text, script, text_value
from remote.ending import SESSIONS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._#@:+-]*)+")
CHUNK_BYTES = 1 << 20

TOLD = re.compile(r"(absent|running|ended|died) (-|\d{1,3}) (\d{1,18})")

Status = Literal["absent", "running", "ended", "died"]


class NotTold(ValueError):
    """The answer is none that `TELL` prints."""


@dataclass(frozen=True)
class DetachedState:
    """died: no process of it is left, and it left no exit code (killed, out of memory, the host went down)."""

    status: Status
    exit_code: int | None = None
    log_bytes: int = 0


# Sets $status and $code. The exit file is asked before the processes and again after: it appears before they go.
STATE = (
    SESSIONS
    + """\
directory=$HOME/.pgpanel/jobs/$1
look() {
    code=- status=absent
    [ -e "$directory/pid" ] || return 0
    read -r pid start boot <"$directory/pid"
    sessions=$pid
    if [ ! -e "$directory/exit" ]; then
        if is_ours; then status=running; return 0; fi
    fi
    if [ -e "$directory/exit" ]; then status=ended; read -r code <"$directory/exit"; else status=died; fi
}
is_ours() { # our process, or what is left of its session
    read -r booted </proc/sys/kernel/random/boot_id
    [ "$boot" = "$booted" ] || return 1
    if read -r line 2>/dev/null <"/proc/$pid/stat"; then
        set -- ${line##*") "}
        [ "${20}" = "$start" ] || return 1
        [ "$1" = Z ] || return 0
    fi
    [ -n "$(left)" ]
}
"""
)

# What is kept as `script`. It says who it is before it runs anything, and holds the directory's lock (8, from START) until it has
# said so: between "started" and "known to be started" nobody can start a second one.
RUNNER = """\
# made by pgpanel: the command of this directory; see pid, log and exit beside this file
umask 077
here=$PWD
read -r stat </proc/$$/stat; set -- ${stat##*") "}
read -r boot </proc/sys/kernel/random/boot_id
echo "$$ ${20} $boot" >pid.new && mv pid.new pid || exit 1
exec 8<&-
cd "$HOME" || cd /
(
umask 022
@COMMAND@
)
code=$?
cd "$here" && echo $code >exit.new && mv exit.new exit
"""

# $2 bytes of input  $3 the script. The input is held in this shell and piped on: it never lies on the disk.
START = (
    STATE
    + """\
umask 077
command -v flock >/dev/null && command -v setsid >/dev/null || { echo "no flock or setsid: install util-linux" >&2; exit 1; }
mkdir -p -- "$directory" && cd "$directory" || exit 1
exec 8<.
tries=0
until flock -n 8; do tries=$((tries + 1)); [ $tries -lt 200 ] || { echo "another start of it hangs" >&2; exit 1; }; sleep 0.1; done
look
[ "$status" = absent ] || [ "$status" = died ] || exit 0
input=$(cat; echo x)
input=${input%x}
[ "${#input}" -eq "$2" ] || { echo "its input did not arrive whole" >&2; exit 1; }
rm -f pid exit log
printf '%s\\n' "$3" >script
if [ "$2" -gt 0 ]; then { printf %s "$input" | setsid sh ./script >log 2>&1; } >/dev/null 2>&1 &
else setsid sh ./script </dev/null >log 2>&1 &
fi
tries=0
until [ -e pid ]; do tries=$((tries + 1)); [ $tries -lt 500 ] || { echo "it did not start" >&2; exit 1; }; sleep 0.02; done
"""
)

TELL = """\
size=0
[ ! -e "$directory/log" ] || size=$(wc -c <"$directory/log")
echo "$status $code $((size))"
"""

FOLLOW = (
    STATE
    + """\
offset=$2 tries=$3
while look; [ "$status" = running ] && [ "$(wc -c <"$directory/log")" -le "$offset" ] && [ "$tries" -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.04
done
"""
    + TELL
    + """\
[ "$size" -le "$offset" ] || tail -c "+$((offset + 1))" -- "$directory/log" | head -c "$4"
"""
)

END = (
    STATE
    + """\
look
[ "$status" != absent ] && is_ours || exit 0
end_sessions "$2" || { echo "$pids"; exit 1; }
"""
)

FORGET = (
    STATE
    + """\
look
[ "$status" != running ] || { echo "it still runs" >&2; exit 1; }
rm -rf -- "$directory"
rmdir -- "${directory%/*}" 2>/dev/null || :
"""
)


def checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f'not the name of a detached command ("job/step"): {name!r}')
    return name


def start(name: str, command: Command) -> Command:
    """`Host.start_detached`. The command's own `timeout_seconds` does not count: whoever follows it decides when it is enough."""
    stdin: Text = command.stdin if command.stdin is not None else ""
    size = str(len(text_value(stdin).encode()))
    runner = RUNNER.replace("@COMMAND@", command.text)
    return replace(script(START, checked(name), size, runner, user=command.user, stdin=stdin), timeout_seconds=45.0)


def state(name: str, user: str) -> Command:
    return script(STATE + "look\n" + TELL, checked(name), user=user, mutates=False)


def follow(name: str, user: str, offset: int, wait_seconds: float) -> Command:
    tries = str(round(wait_seconds / 0.04))
    body = script(FOLLOW, checked(name), str(offset), tries, str(CHUNK_BYTES), user=user, mutates=False)
    return replace(body, timeout_seconds=30.0 + wait_seconds * 3)


def end(name: str, user: str, grace_seconds: float) -> Command:
    tenths = str(round(grace_seconds * 10))
    return replace(script(END, checked(name), tenths, user=user), timeout_seconds=grace_seconds + 20)


def forget(name: str, user: str) -> Command:
    return script(FORGET, checked(name), user=user)


def parse_state(answer: bytes) -> tuple[DetachedState, bytes]:
    """The line of `TELL`, and what follows it; `NotTold` where a host answers anything else."""
    line, _, log = answer.partition(b"\n")
    found = TOLD.fullmatch(line.decode("ascii", "replace"))
    if not found:
        raise NotTold
    code = found[2]
    return DetachedState(found[1], None if code == "-" else int(code), int(found[3])), log[:CHUNK_BYTES]  # type: ignore[arg-type]
