# A base backup by parallel rsync from inside one held backup session; a marker file that names the job is written last.
# $1 directory  $2 bin directory  $3 job  $4 system identifier  $5 what makes it a standby ("standby.signal", "recovery.conf", "")
# $6 where copy_key and copy_known_hosts lie  $7 user  $8 address  $9 port of sshd on the source  then: streams, "compress" or "",
# and for a delta a directory of the same system, of which only what differs is sent (never by size and time: they may lie)
set -eu
umask 077
new=$1 bin=$2 job=$3 identifier=$4 standby=$5 own=$6 user=$7 address=$8 port=$9
shift 9
streams=$1 compress=${2:-} basis=${3:-}
case $new in *.new-"$job") ;; *) echo "$new is not a directory of $job" >&2; exit 1 ;; esac
if [ "$(cat "$new/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi

cd "$own"
work=$own/copy_work
rm -rf "$work"
mkdir "$work"
ssh="ssh -T -F /dev/null -i copy_key -p $port -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15"
ssh="$ssh -o StrictHostKeyChecking=yes -o UserKnownHostsFile=copy_known_hosts -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR"
if ssh -Q cipher 2>/dev/null | grep -qx aes128-gcm@openssh.com; then ssh="$ssh -c aes128-gcm@openssh.com,aes128-ctr"; fi
children=
session=
finish() {
    status=$?
    trap - EXIT
    for child in $children $session; do kill "$child" 2>/dev/null || :; done
    rm -rf "$work"
    exit $status
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
ask() { $ssh "$user@$address" "$1" </dev/null; }
receive() { # list of files, then options
    list=$1
    shift
    if [ -n "$basis" ]; then set -- --no-whole-file --ignore-times --copy-dest="$basis" "$@"; else set -- --whole-file --inplace "$@"; fi
    rsync -a --no-r --files-from="$list" -e "$ssh" ${compress:+-z --compress-level=1} "$@" "$user@$address:./" "$new/" || {
        code=$?
        [ $code -eq 24 ] # a file that the server has removed meanwhile: its WAL says so
    }
}

find "$new" -mindepth 1 -delete # an earlier attempt of this same job
echo 'opening the backup session'
mkfifo "$work/in"
$ssh "$user@$address" session <"$work/in" >"$work/out" 2>&1 &
session=$!
exec 3>"$work/in"
until grep -qx started "$work/out"; do
    kill -0 "$session" 2>/dev/null || { cat "$work/out" >&2; echo 'the backup session did not open' >&2; exit 1; }
    sleep 0.1
done

ask list >"$work/list"
grep '^d ' "$work/list" | cut -d' ' -f3- >"$work/directories"
grep '^f ' "$work/list" | cut -d' ' -f2- | sort -rn >"$work/files"
total=$(awk '{ sum += $1 } END { printf "%.0f", sum }' "$work/files")
awk -v n="$streams" -v base="$work/part" '{ size = $1; sub(/^[0-9]+ /, ""); m = 1
    for (i = 2; i <= n; i++) if (load[i] + 0 < load[m] + 0) m = i
    load[m] += size + 4096; print > (base m) }' "$work/files"
receive "$work/directories"
echo "$(wc -l <"$work/files") files in $streams streams${compress:+, compressed}"
number=0
for part in "$work"/part*; do
    number=$((number + 1))
    {
        code=0
        receive "$part" --info=progress2 >"$work/progress$number" 2>"$work/errors$number" || code=$?
        echo $code >"$work/result$number" # only now: that the file is there says that the stream has ended
    } &
    children="$children $!"
done
while :; do
    done_bytes=$(cat "$work"/progress* 2>/dev/null | tr '\r' '\n' | awk -v t="$total" '{ gsub(",", "", $1) } 0 { }
        $1 ~ /^[0-9]+$/ { if ($1 + 0 < last + 0) sum += last; last = $1 } END { printf "%.0f", sum + last }')
    echo "$done_bytes of $total bytes"
    [ "$(ls "$work" | grep -c '^result')" -lt "$number" ] || break
    kill -0 "$session" 2>/dev/null || { cat "$work/out" >&2; echo 'the backup session was lost: this copy is worth nothing' >&2; exit 1; }
    sleep 0.5
done
# shellcheck disable=SC2086
wait $children
children=
cat "$work"/errors* >&2
[ "$(cat "$work"/result* | grep -cx 0)" -eq "$number" ] || { echo 'rsync failed' >&2; exit 1; }
# what is missing here must be gone there too
cut -d' ' -f2- "$work/files" | (cd "$new" && while IFS= read -r name; do [ -e "$name" ] || echo "$name"; done) >"$work/missing"
if [ -s "$work/missing" ] && ask list | cut -d' ' -f3- | grep -Fxf "$work/missing" >&2; then echo 'these files were not copied' >&2; exit 1; fi
echo global/pg_control >"$work/control"
receive "$work/control" # last, so that nothing in the copy is older than it says
kill -0 "$session" 2>/dev/null || { cat "$work/out" >&2; echo 'the backup session was lost: this copy is worth nothing' >&2; exit 1; }
echo stop >&3
exec 3>&-
wait "$session" || { cat "$work/out" >&2; exit 1; }
session=
grep -qx stopped "$work/out" || { cat "$work/out" >&2; echo 'the backup did not end well: this copy is worth nothing' >&2; exit 1; }

field() { sed -n "s/^$1 //p" "$work/out" | tail -n 1; }
if [ -n "$(field label)" ]; then field label | base64 -d >"$new/backup_label"; fi
if [ -n "$(field map)" ]; then field map | base64 -d >"$new/tablespace_map"; fi
[ -s "$new/backup_label" ] || { echo 'there is no backup_label: this copy would be corrupt' >&2; exit 1; }
first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\)).*/\1/p' "$new/backup_label")
last=$(field last)
wal=$new/pg_wal
[ -d "$wal" ] || wal=$new/pg_xlog
ask wal | awk -v first="$first" -v last="$last" '/history$/ || (substr($0, 9) >= substr(first, 9) && substr($0, 9) <= substr(last, 9))' |
    sed "s|^|${wal##*/}/|" >"$work/wal"
grep -q "$first" "$work/wal" && grep -q "$last" "$work/wal" || { echo "the WAL from $first to $last is not on the source any more" >&2; exit 1; }
echo "WAL from $first to $last"
receive "$work/wal"
mkdir -p "$wal/archive_status"

found=$(LC_ALL=C "$bin/pg_controldata" "$new" | sed -n 's/^Database system identifier: *//p')
[ "$found" = "$identifier" ] || { echo "the copy is of another database system: $found, not $identifier" >&2; exit 1; }
# from here on it can never come up as a second primary
case $standby in
standby.signal) : >"$new/standby.signal" ;;
recovery.conf) echo "standby_mode = 'on'" >"$new/recovery.conf" ;;
esac
sync -f "$new" 2>/dev/null || sync
echo "$job" >"$new/pgpanel.job.part"
sync "$new/pgpanel.job.part" 2>/dev/null || sync
mv "$new/pgpanel.job.part" "$new/pgpanel.job"
rm -f copy_key copy_known_hosts
echo 'copied'
