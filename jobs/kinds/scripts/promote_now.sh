# Promote this standby and prove it: it takes writes, its timeline has risen, and the history of that timeline is written.
# $1 data directory  $2 bin directory  $3 port  $4 socket  $5 superuser  $6 sql | pg_ctl | trigger  $7 trigger file  $8 what begins it: SQL, or a
# word for pg_ctl  $9 SQL: the WAL file that is written now  then: the timeline before
set -eu
umask 077
data=$1 bin=$2 port=$3 socket=$4 superuser=$5 method=$6 trigger=$7 begin=$8 current=$9
shift 9
before=$1
cd "$data"
wal=pg_wal
[ -d $wal ] || wal=pg_xlog
# waits on the server: a program that asks again and again costs more than the promotion itself
wait='DO $wait$ BEGIN FOR tried IN 1..30000 LOOP EXIT WHEN NOT pg_is_in_recovery(); PERFORM pg_sleep(0.002); END LOOP; END $wait$;'
session() {
    PGAPPNAME=pgpanel PGCONNECT_TIMEOUT=5 "$bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "$port" -U "$superuser" \
        -d postgres -f -
}
began=$(date +%s.%N)
case $method in
pg_ctl) "$bin/pg_ctl" -D "$data" $begin promote >/dev/null ;;
trigger)
    : >"$trigger"
    kill -HUP "$(head -n 1 postmaster.pid)" # it looks for the file at once instead of in some seconds
    ;;
esac
[ "$method" = sql ] || begin=
said=$(session <<SQL
$begin
$wait
SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END;
SELECT $current;
SQL
)
ended=$(date +%s.%N)
set -- $said
while [ $# -gt 2 ]; do shift; done
[ "${1:-}" = primary ] || { echo 'it did not become the primary within a minute' >&2; exit 1; }
timeline=$(echo "$2" | cut -c1-8)
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
