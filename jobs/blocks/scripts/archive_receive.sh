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

where_branched() { # by the newest history here: behind the point where this file's timeline was left, or in its very segment
    newest=$(set +f; ls ../????????.history 2>/dev/null | sort | tail -n 1)
    [ -n "$newest" ] || return
    timeline=$((0x$(echo "$name" | cut -c1-8)))
    left_at=$(awk -v t="$timeline" '$1 == t && $2 ~ "/" { print $2 }' "$newest" | tail -n 1)
    [ -n "$left_at" ] || return
    log=$((0x$(echo "$name" | cut -c9-16))) segment=$((0x$(echo "$name" | cut -c17-24)))
    switch_log=$((0x${left_at%/*})) switch_segment=$((0x${left_at#*/} / segment_bytes))
    if [ "$log" -eq "$switch_log" ] && [ "$segment" -eq "$switch_segment" ]; then echo there
    elif [ "$log" -gt "$switch_log" ] || { [ "$log" -eq "$switch_log" ] && [ "$segment" -gt "$switch_segment" ]; }; then echo beyond; fi
}

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
