# Bring the WAL that this standby still needs to where it looks for it: each file from the first node that has it whole, up to where the
# node above can stream on by itself. Checked here once more: its size and the system that it is of.
# $1 directory of copy_key  $2 where the files go  $3 "kept" = those that are there already are whole  $4 bytes of a segment
# $5 where the system identifier stands in one  $6 the identifier  $7 the first position: the last 16 digits of its file's name
# $8 segments in a log  then: user, address and port of each, the node above first
set -u
umask 077
export LC_ALL=C
own=$1 place=$2 kept=$3 segment_bytes=$4 offset=$5 identifier=$6 position=$7 per_log=$8
shift 8
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"; rm -f "$own/copy_key"' EXIT
trap 'exit 1' HUP INT TERM

ask() { # number of the node, words
    read -r user address port <"$work/node-$1"
    shift
    ssh -T -F /dev/null -i "$own/copy_key" -p "$port" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 \
        -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$own/copy_known_hosts" \
        -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR "$user@$address" "$*" </dev/null
}
shifted() { # position, +1 or -1
    log=$((0x${1%????????})) segment=$((0x${1#????????} + $2))
    if [ $segment -ge "$per_log" ]; then log=$((log + 1)) segment=0; fi
    if [ $segment -lt 0 ]; then log=$((log - 1)) segment=$((per_log - 1)); fi
    printf '%08X%08X' $log $segment
}
is_before() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]; }

nodes=0
while [ $# -ge 3 ]; do
    nodes=$((nodes + 1))
    echo "$1 $2 $3" >"$work/node-$nodes"
    ask $nodes list >"$work/list-$nodes" || { echo "$2 does not tell what it has" >&2; : >"$work/list-$nodes"; }
    shift 3
done
streams() { grep -Eq "^(wal|open) [0-9A-F]{8}$1 " "$work/list-1"; }
from=$(sed -n 's/^open [0-9A-F]\{8\}\([0-9A-F]\{16\}\) .*/\1/p' "$work/list-1")
[ -n "$from" ] || { echo 'the node above does not tell what it has' >&2; exit 1; }
while is_before "$position" "$from" && streams "$(shifted "$from" -1)"; do from=$(shifted "$from" -1); done

take() { # number of the node, name
    ask "$1" get "$2" >"$work/file" || return 1
    case $2 in
    *.history) ;;
    *)
        [ "$(wc -c <"$work/file")" -eq "$segment_bytes" ] || { echo "$2 is cut off" >&2; return 1; }
        found=$(od -An -tu8 -j"$offset" -N8 "$work/file" | tr -d ' ')
        [ "$found" = "$identifier" ] || { echo "$2 is of another database system, $found" >&2; return 1; }
        ;;
    esac
    cp "$work/file" "$place/.bridge-$2" && { sync "$place/.bridge-$2" 2>/dev/null || sync; } && mv -f "$place/.bridge-$2" "$place/$2"
}
bring() { # position
    count=1
    while [ $count -le $nodes ]; do
        for name in $(sed -n "s/^\(archive\|wal\) \([0-9A-F]\{8\}$1\) .*/\2/p" "$work/list-$count" | sort -ru); do
            if take $count "$name"; then read -r _user address _port <"$work/node-$count"; echo "$name from $address"; return 0; fi
        done
        count=$((count + 1))
    done
    return 1
}

has() { # position: in any timeline
    set -- "$place"/????????"$1"
    [ -f "$1" ]
}

for name in $(sed -n 's/^history //p' "$work"/list-* | sort -u); do
    [ -f "$place/$name" ] || { count=1; until take $count "$name" 2>/dev/null || [ $count -ge $nodes ]; do count=$((count + 1)); done; }
done
brought=0
while is_before "$position" "$from"; do
    if [ "$kept" != kept ] || ! has "$position"; then
        bring "$position" || { echo "the WAL at $position is on none of the nodes any more" >&2; exit 3; }
        brought=$((brought + 1))
    fi
    position=$(shifted "$position" 1)
done
echo "$brought files; from $from on it streams"
