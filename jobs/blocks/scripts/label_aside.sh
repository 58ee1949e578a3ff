# Move the backup_label of an original primary aside that crashed while an exclusive backup was open: only after the proof that this is
# no copy. A copy needs its label: without it, it starts and is silently damaged.
# $1 data directory  $2 bin directory  $3 job
set -eu
export LC_ALL=C
data=$1 bin=$2 job=$3
label=$data/backup_label aside=$data/backup_label.pgpanel-$job
if [ ! -f "$label" ] && [ -f "$aside" ]; then exit 0; fi
refuse() { echo "backup_label stays: $1" >&2; exit 1; }
said() { "$bin/pg_controldata" "$data" | sed -n "s/^$1: *//p"; }
position() { printf '%08X%08X' $((0x${1%/*})) $((0x${1#*/})); }

[ -f "$label" ] || refuse 'there is none'
[ ! -e "$data/standby.signal" ] && [ ! -e "$data/recovery.conf" ] && [ ! -e "$data/recovery.signal" ] || refuse 'this is to be a standby'
[ ! -f "$data/pgpanel.job" ] || refuse 'this is a copy that pgpanel made'
grep -q '^BACKUP METHOD: streamed' "$label" && refuse 'this is a copy by pg_basebackup'
pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)
if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then refuse "process $pid still runs"; fi
# where the backup was begun, the label was written in that moment, and the files were there before; no copy can have both
begun_at=$(date -d "$(sed -n 's/^START TIME: //p' "$label")" +%s) || refuse 'its time cannot be read'
apart=$(($(stat -c %Z "$label") - begun_at))
[ "$apart" -ge -2 ] && [ "$apart" -le 5 ] || refuse "it was put here $apart s after that backup was begun: this is a copy"
[ "$(stat -c %Z "$data/PG_VERSION")" -lt "$begun_at" ] || refuse 'this directory is younger than its backup: it is a copy'
[ "$(said 'Database cluster state')" = 'in production' ] || refuse 'its control file does not say that it crashed'
begun=$(sed -n 's/^CHECKPOINT LOCATION: //p' "$label")
last=$(said 'Latest checkpoint location')
[ "$(printf '%s\n%s\n' "$(position "$begun")" "$(position "$last")" | sort | head -n 1)" = "$(position "$begun")" ] ||
    refuse 'its control file is older than the label'
wal=$data/pg_wal
[ -d "$wal" ] || wal=$data/pg_xlog
needed=$(said "Latest checkpoint's REDO WAL file")
[ -z "$needed" ] || [ -f "$wal/$needed" ] || refuse "$needed, where its crash recovery begins, is not there"
mv "$label" "$aside"
sync "$data" 2>/dev/null || sync
echo "moved to $aside"
