# Look into a data directory that was put aside, read-only: on a socket of its own, no network, no archive, no replication.
#   start  a read-only server on it; says how to connect        stop  ends it
#   count  how many transactions were committed after the fork and never left it; starts nothing
#   rows   the rows that were committed after the fork and never left it (of at most $most a table), as CSV; starts and stops by itself
# Before this, as assignments: old, data, bin, conf, style, wal, options (settings that not every version knows).
umask 077
LC_ALL=C PGOPTIONS=
export LC_ALL PGOPTIONS
unset PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD PGSERVICE PGDATA
most=1000
[ -f "$old/PG_VERSION" ] || { echo "$old is not there any more" >&2; exit 1; }
own=$(cd "$(dirname "$0")" && pwd)
room=$own/read
port=5432
superuser=$(stat -c %U "$old")
psql() { "$bin/psql" -X -w -v ON_ERROR_STOP=1 -h "$room" -p $port -U "$superuser" "$@"; }
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

start() {
    echo 'local all all trust' >"$room/hba" # only who may enter the directory reaches the socket
    # it goes on as a standby without a primary: nobody can write into it, and nobody can promote it by mistake
    case $style in
    recovery.conf) echo "standby_mode = 'on'" >"$old/recovery.conf" ;;
    *) : >"$old/standby.signal" ;;
    esac
    words="-c config_file=$(quoted "$conf") -c data_directory=$(quoted "$old") -c hba_file=$(quoted "$room/hba") -c listen_addresses=''"
    words="$words -c port=$port -c ${socket}=$(quoted "$room") -c archive_mode=off -c hot_standby=on -c ssl=off -c logging_collector=off"
    words="$words -c log_destination=stderr -c external_pid_file='' -c shared_buffers=64MB $options"
    "$bin/pg_ctl" -D "$old" -w -t 600 -l "$room/log" -o "$words" start >"$room/said" 2>&1 </dev/null || { cat "$room/said"; tail -n 20 "$room/log"; exit 1; }
    tries=0
    until psql -At -d postgres -c 'SELECT 1' >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { tail -n 20 "$room/log" >&2; exit 1; }
        sleep 0.1
    done
}
stop() { "$bin/pg_ctl" -D "$old" -w -m fast stop >/dev/null; }
is_running() { "$bin/pg_ctl" -D "$old" status >/dev/null 2>&1; }

# where the primary's history left this directory's timeline, and what was committed behind it
lost() {
    timeline=$("$bin/pg_controldata" "$old" | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
    history=$(ls "$data/$wal" | grep -E '^[0-9A-F]{8}\.history$' | sort | tail -n 1)
    fork=$(awk -v t="$timeline" '$1 == t && $2 ~ "/" { print $2 }' "$data/$wal/$history" 2>/dev/null | tail -n 1)
    [ -n "$fork" ] || { echo "the timeline $timeline of $old was never left: nothing is known to be lost" >&2; return 1; }
    "$bin/$dump" -p "$old/$wal" -t "$timeline" -s "$fork" >"$room/wal" 2>/dev/null || : # it ends where the WAL does
    # their subtransactions wrote rows under numbers of their own
    grep -E 'rmgr: Transaction .*desc: COMMIT' "$room/wal" |
        sed -n -e 's/.* tx: *\([0-9]*\),.*subxacts: \([0-9 ]*\).*/\1 \2/p;t' -e 's/.* tx: *\([0-9]*\),.*/\1/p' |
        tr ' ' '\n' | grep . | sort -un >"$room/transactions"
    # database and file of every table that one of them wrote to, and how often
    awk 'NR == FNR { is_lost[$1] = 1; next }
        /^rmgr: Heap2? / { match($0, /tx: +[0-9]+/); tx = substr($0, RSTART + 3, RLENGTH - 3) + 0
            if (!(tx in is_lost) || !match($0, /rel [0-9]+\/[0-9]+\/[0-9]+/)) next
            split(substr($0, RSTART + 4, RLENGTH - 4), part, "/"); rel = part[2] " " part[3]
            match($0, /desc: [A-Z_+]+/); verb = substr($0, RSTART + 6, RLENGTH - 6); sub(/\+INIT/, "", verb)
            if (verb ~ /^(HOT_)?UPDATE/) updates[rel]++; else if (verb ~ /INSERT/) inserts[rel]++; else if (verb == "DELETE") deletes[rel]++
            else next
            seen[rel] = 1 }
        END { for (rel in seen) print rel, inserts[rel] + 0, updates[rel] + 0, deletes[rel] + 0 }' "$room/transactions" "$room/wal" |
        sort -n >"$room/tables"
    rm -f "$room/wal"
}

count() {
    lost || return 1
    echo "-- $(wc -l <"$room/transactions") transactions were committed after the fork at $fork of timeline $timeline and never left this node"
}

rows() {
    count || return 1
    [ -s "$room/transactions" ] || return 0
    if [ "$(wc -l <"$room/transactions")" -le 5000 ]; then
        which="IN ($(tr '\n' ',' <"$room/transactions" | sed 's/,$//'))"
    else
        which="BETWEEN $(head -n 1 "$room/transactions") AND $(tail -n 1 "$room/transactions")"
    fi
    psql -At -F ' ' -d postgres -c 'SELECT oid, datname FROM pg_database WHERE datallowconn' >"$room/databases"
    while read -r database file inserts updates deletes; do
        name=$(sed -n "s/^$database //p" "$room/databases")
        [ -n "$name" ] || continue
        table=$(psql -At -d "$name" -c "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE pg_relation_filenode(c.oid) = $file AND c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_'" </dev/null)
        [ -n "$table" ] || continue
        echo
        echo "-- database $name, table $table: $inserts inserted (several rows may be one), $updates updated, $deletes deleted; as they were last:"
        psql -q -d "$name" -c "COPY (SELECT * FROM $table WHERE xmin::text::bigint $which LIMIT $most) TO STDOUT WITH CSV HEADER" </dev/null
    done <"$room/tables"
}

mkdir -p "$room"
case ${1:-} in
count) count ;;
start)
    is_running || start
    echo "It answers, read-only, until: $0 stop"
    echo "$bin/psql -h $room -p $port -U $superuser postgres"
    ;;
stop) if is_running; then stop; fi ;;
rows)
    was=no
    if is_running; then was=yes; else start; fi
    rows
    code=$?
    [ $was = yes ] || stop
    exit $code
    ;;
*) echo "usage: $0 start | rows | count | stop" >&2; exit 2 ;;
esac
