"""Ending what runs on a host, and proving that nothing of it is left."""

from __future__ import annotations

from collections.abc import Collection

from remote.command import Command, script

# A session is what our login, su or setsid made for the command; everything that it starts belongs to it, unless it makes itself a
# session of its own on purpose, as a daemon does: a server that was just started is not ended with the command that started it.
SESSIONS = """\
left() {
    for stat in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$stat" || continue
        set -- ${line##*") "}
        case $1 in Z|X) continue ;; esac
        case " $sessions " in *" $4 "*) printf '%s ' "${line%% *}" ;; esac
    done
}
signal_until_none() { # $1 signal, $2 tenths of a second
    tenths=$2
    while pids=$(left); [ -n "$pids" ]; do
        [ "$1" = TERM ] && [ "$tenths" -lt "$2" ] || kill -"$1" $pids 2>/dev/null
        [ "$tenths" -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}
end_sessions() { # $1 tenths between TERM and KILL; true: none is left
    signal_until_none TERM "$1" || signal_until_none KILL 30
}
"""


def end_sessions(sessions: Collection[int], user: str, grace_seconds: float) -> Command:
    """TERM, then KILL every process of these sessions; exit code 0 proves that none is left, else the pids are printed."""
    return script(
        SESSIONS + 'sessions=$1\nend_sessions "$2" || { echo "$pids"; exit 1; }',
        " ".join(map(str, sorted(sessions))),
        str(round(grace_seconds * 10)),
        user=user,
        timeout_seconds=grace_seconds + 10,
        mutates=False,  # it belongs to a command that has proved its epoch, whose lock is still held
    )
