# Promote this standby by its trigger file and prove it: it takes writes, its timeline has risen, and that timeline's history is written.
# $1 data directory  $2 bin directory  $3 port  $4 socket  $5 superuser  $6 trigger file  $7 SQL: the WAL file that is written now
# $8 the timeline before
set -eu
umask 077
data=$1 bin=$2 port=$3 socket=$4 superuser=$5 trigger=$6 current=$7 before=$8
cd "$data"
wal=pg_wal
[ -d $wal ] || wal=pg_xlog
ask() {
    PGAPPNAME=pgpanel PGCONNECT_TIMEOUT=5 "$bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "$port" -U "$superuser" \
        -d postgres -f -
}
began=$(date +%s.%N)
: >"$trigger"
kill -HUP "$(head -n 1 postmaster.pid)" # it looks for the file at once instead of in some seconds
# waits on the server: a program that asks again and again costs more than the promotion itself
ask <<'SQL'
DO $wait$ BEGIN FOR tried IN 1..30000 LOOP EXIT WHEN NOT pg_is_in_recovery(); PERFORM pg_sleep(0.002); END LOOP; END $wait$;
SQL
ended=$(date +%s.%N)
[ "$(echo 'SELECT pg_is_in_recovery();' | ask)" = f ] || { echo 'it did not become the primary within a minute' >&2; exit 1; }
timeline=$(echo "SELECT $current;" | ask | cut -c1-8)
# "not in recovery" can be a plain crash recovery too
[ $((0x$timeline)) -gt "$before" ] || { echo "it takes writes, but still on timeline $before: it was not promoted" >&2; exit 1; }
tries=0
until [ -s "$wal/$timeline.history" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "it takes writes on timeline $timeline, but there is no $timeline.history" >&2; exit 1; }
    sleep 0.05
done
switch=$(awk '$2 ~ "/" { at = $2 } END { print at }' "$wal/$timeline.history")
echo "timeline $((0x$timeline)) switch $switch began $began ended $ended"
