# Fetch the WAL that never arrived from another node's disk into this standby's, and wait until it is replayed.
# $1 directory of copy_key  $2 user  $3 address  $4 port of sshd there  $5 data directory  $6 bin directory  $7 port  $8 socket  $9 superuser
# then: bytes of a segment, where the system identifier stands in one, the identifier, the function that tells the replay position
set -eu
umask 077
own=$1 user=$2 address=$3 ssh_port=$4 data=$5 bin=$6 port=$7 socket=$8 superuser=$9
shift 9
segment_bytes=$1 offset=$2 identifier=$3 replay_function=$4
cd "$data"
wal=pg_wal
[ -d $wal ] || wal=pg_xlog
new=$wal/pgpanel.incoming

ask() {
    PGAPPNAME=pgpanel PGCONNECT_TIMEOUT=5 "$bin/psql" -X -A -t -q -w -h "${socket:-localhost}" -p "$port" -U "$superuser" -d postgres -c "$1"
}
number() { echo $((0x${1%/*} * 4294967296 + 0x${1#*/})); }
end_receiver() { # one that still believes in its dead primary keeps the server from looking at its own disk
    for each in /proc/[0-9]*; do
        [ "$(readlink "$each/cwd" 2>/dev/null)" = "$(pwd -P)" ] || continue
        case $(cat "$each/comm" 2>/dev/null) in postgres | postmaster | .postgres*) ;; *) continue ;; esac
        case $(tr '\0' ' ' <"$each/cmdline" 2>/dev/null) in
        *'wal receiver'* | *walreceiver*) kill "${each#/proc/}" 2>/dev/null || : ;;
        esac
    done
}

before=$(ask "SELECT $replay_function()")
[ -n "$before" ] || { echo 'this server replays nothing' >&2; exit 1; }
rm -rf "$new"
mkdir "$new"
trap 'rm -rf "$new"' EXIT
{
    ssh -T -F /dev/null -i "$own/copy_key" -p "$ssh_port" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 \
        -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$own/copy_known_hosts" \
        -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR "$user@$address" "wal $before" </dev/null || echo $? >"$new/failed"
} | {
    read -r word timeline last && [ "$word" = last ] && echo "$timeline $last" >"$new/last" && tar -C "$new" -xf -
}
[ ! -f "$new/failed" ] || { echo "the other node did not give its WAL (exit code $(cat "$new/failed"))" >&2; exit 1; }
read -r timeline last <"$new/last"

files=0
position=$((0x${before#*/} % segment_bytes))
current=$(printf '%08X%08X' $((0x${before%/*})) $((0x${before#*/} / segment_bytes)))
for file in "$new"/*; do
    name=${file##*/}
    case $name in
    last) continue ;;
    *.history) [ -f "$wal/$name" ] || mv "$file" "$wal/$name"; continue ;;
    esac
    [ "$(wc -c <"$file")" -eq "$segment_bytes" ] || { echo "$name is cut off" >&2; exit 1; }
    found=$(od -An -tu8 -j"$offset" -N8 "$file" | tr -d ' ')
    [ "$found" = "$identifier" ] || { echo "$name is of another database system, $found" >&2; exit 1; }
    if [ "${name#????????}" = "$current" ] && [ -f "$wal/$name" ] && ! cmp -s -n "$position" "$file" "$wal/$name"; then
        echo "$name says otherwise there than what was replayed here: the two have parted before" >&2
        exit 4
    fi
    sync "$file" 2>/dev/null || sync
done
for file in "$new"/[0-9A-F]*; do
    [ -f "$file" ] || continue
    mv "$file" "$wal/${file##*/}"
    files=$((files + 1))
done
sync "$wal" 2>/dev/null || sync
echo "$files files from there; the last whole record begins at $last (timeline $timeline)" >&2

# it looks at its own disk again when its receiver ends, and at once when it is told to read its configuration
end_receiver
tries=0 same=0 now=$before
while :; do
    [ $((tries % 20)) -ne 0 ] || ask 'SELECT pg_reload_conf()' >/dev/null
    seen=$now
    now=$(ask "SELECT $replay_function()")
    case $last in
    none) break ;;
    unknown) # no tool here tells where the WAL ends: it is read to its end when nothing moves any more
        [ "$seen" = "$now" ] && same=$((same + 1)) || same=0
        [ $same -lt 60 ] || break
        ;;
    *) [ "$(number "$now")" -le "$(number "$last")" ] || break ;;
    esac
    tries=$((tries + 1))
    [ $tries -lt 36000 ] || { echo "replay stands at $now, before $last" >&2; exit 1; }
    sleep 0.05
done
echo "timeline $timeline last $last replayed $now before $before files $files"
