#!/bin/sh
# All that the other nodes' archiving key may do here: hand in one WAL file, "<name> <bytes>", into the directory above.
# 0 = stored, or there already with the same content; 3 = refused for good; 4 = not now (cut off, disk nearly full).
umask 077
cd "$(dirname "$0")" || exit 4
. ./settings
set -f
# shellcheck disable=SC2086
set -- $SSH_ORIGINAL_COMMAND
name=${1:-} bytes=${2:-}

refuse() { echo "$name refused: $1" >&2; exit 3; }

echo "$name" | grep -Eqx '[0-9A-F]{8}\.history|[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?' || refuse 'not the name of a WAL file'
echo "$bytes" | grep -Eqx '[0-9]{1,10}' || refuse 'its size is missing'

is_segment() { echo "$1" | grep -Eqx '[0-9A-F]{24}'; }

runs() { # the server here; sets postmaster, wal
    wal=$data/pg_wal
    [ -d "$wal" ] || wal=$data/pg_xlog
    postmaster=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
    [ -n "$postmaster" ] && [ "/proc/$postmaster/cwd" -ef "$data" ]
}

streams() { # its receiver, from whomever
    for stat in /proc/[0-9]*/stat; do
        read -r text 2>/dev/null <"$stat" || continue
        set -- ${text##*") "}
        [ "$2" = "$postmaster" ] || continue
        case $(tr '\0' ' ' <"${stat%/stat}/cmdline" 2>/dev/null) in *'wal receiver'* | *walreceiver*) return 0 ;; esac
    done
    return 1
}

# A node that somebody promoted while another still is the primary hands in its new timeline too. A server that runs on without it must not
# find that in its archive: a standby would go after it, and the primary's own files would look as if they belonged to a past.
is_followed() { # timeline. Up to 9.2 a standby learns of a timeline from its archive alone
    if [ "$identifier_offset" = 16 ] || ! runs; then return 0; fi
    newest=$(set +f; ls "$wal" 2>/dev/null | grep -E '^[0-9A-F]{8}(\.history|[0-9A-F]{16})$' | cut -c1-8 | sort | tail -n 1)
    [ $((0x$1)) -gt $((0x0$newest)) ] || return 0
    { [ -e "$data/standby.signal" ] || [ -e "$data/recovery.conf" ]; } && ! streams
}

where_branched() { # by the newest history that counts: behind the point where this file's timeline was left, or in its very segment
    newest=$(set +f; if runs; then cd "$wal"; else cd ..; fi && ls "$PWD"/????????.history 2>/dev/null | sort | tail -n 1)
    [ -n "$newest" ] || return
    timeline=$((0x$(echo "$name" | cut -c1-8)))
    left_at=$(awk -v t="$timeline" '$1 == t && $2 ~ "/" { print $2 }' "$newest" | tail -n 1)
    [ -n "$left_at" ] || return
    log=$((0x$(echo "$name" | cut -c9-16))) segment=$((0x$(echo "$name" | cut -c17-24)))
    switch_log=$((0x${left_at%/*})) switch_segment=$((0x${left_at#*/} / segment_bytes))
    if [ "$log" -eq "$switch_log" ] && [ "$segment" -eq "$switch_segment" ]; then echo there
    elif [ "$log" -gt "$switch_log" ] || { [ "$log" -eq "$switch_log" ] && [ "$segment" -gt "$switch_segment" ]; }; then echo beyond; fi
}

timeline=$(echo "$name" | cut -c1-8)
(set +f; is_followed "$timeline") || { echo "$name: the server here goes on without timeline $((0x$timeline))" >&2; exit 4; }

if is_segment "$name"; then
    case $(where_branched) in
    beyond) refuse 'it lies beyond the point where this timeline was left' ;;
    # the next timeline has this segment too, and goes on in it: nobody may replay the old one's, and it holds up nobody's archiver
    there) cat >/dev/null; exit 0 ;;
    esac
fi

set -- $(df -Pk . | tail -n 1)
# five in a hundred stay free: a full disk would stop the standby itself
if [ $(($4 - bytes / 1024)) -lt $(($2 / 20)) ]; then echo "$name: only $4 kB free here" >&2; exit 4; fi

new=.incoming-$name-$$
trap 'rm -f "$new"' EXIT
cat >"$new"
[ "$(wc -c <"$new")" -eq "$bytes" ] || { echo "$name: cut off" >&2; exit 4; }
if is_segment "$name"; then
    found=$(od -An -tu8 -j"$identifier_offset" -N8 "$new" | tr -d ' ')
    [ "$found" = "$system_identifier" ] || refuse "it is of another database system, $found"
fi
sync "$new" 2>/dev/null || sync
if ! ln "$new" "../$name" 2>/dev/null; then
    cmp -s "$new" "../$name" || refuse 'another file of this name is here'
fi
sync .. 2>/dev/null || true
echo "$name $bytes $(date +%s)" >".received-$$" && mv ".received-$$" received
