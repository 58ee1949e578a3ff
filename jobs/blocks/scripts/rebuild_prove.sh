# Prove on the host itself that this directory may be rebuilt: of that database system, the owner's own, and not on the primary's timeline as
# a primary. Then say so beside its data, for this job.
# $1 data directory  $2 bin directory  $3 job  $4 system identifier  $5 timeline of the primary
set -eu
umask 077
data=$1 bin=$2 job=$3 identifier=$4 timeline=$5
refuse() { echo "$data stays as it is: $1" >&2; exit 1; }
if [ "$(cat "$data/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi
control=$(LC_ALL=C "$bin/pg_controldata" "$data")
field() { printf '%s\n' "$control" | sed -n "s/^$1: *//p"; }
[ "$(field 'Database system identifier')" = "$identifier" ] || refuse "it is the database system $(field 'Database system identifier'), not $identifier"
[ "$(stat -c %u "$data")" = "$(id -u)" ] || refuse "it belongs to $(stat -c %U "$data")"
pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)
if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ "$(field 'Database cluster state')" = 'in production' ]; then
    # right after a promotion the control file still names the timeline before: the newest WAL file tells too
    wal=$data/pg_wal
    [ -d "$wal" ] || wal=$data/pg_xlog
    newest=$(ls "$wal" | grep -E '^[0-9A-F]{24}$' | sort | tail -n 1 | cut -c1-8)
    [ $((0x${newest:-0})) -lt "$timeline" ] || refuse "it runs as a primary on timeline $((0x$newest)), the other one is on $timeline: which is right?"
fi
echo "$job" >"$data/pgpanel.replaceable.part"
mv "$data/pgpanel.replaceable.part" "$data/pgpanel.replaceable"
