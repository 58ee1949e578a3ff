# Rewind a copy of a diverged data directory; the directory itself is only read. The copy's marker, which names the job, is written last.
# $1 data directory  $2 copy  $3 bin directory  $4 job  $5 system identifier  $6 postgresql.conf  $7 standby.signal | recovery.conf
# $8 WAL archive  $9 how to reach the primary (no password in it)  then: the WAL archive on the primary's host
set -eu
umask 077
data=$1 new=$2 bin=$3 job=$4 identifier=$5 conf=$6 standby=$7 archive=$8 source=$9
shift 9
archive_there=$1
LC_ALL=C
export LC_ALL
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGSERVICE PGSERVICEFILE PGSSLMODE PGREQUIREPEER PGTARGETSESSIONATTRS PGDATA
PGOPTIONS='-c statement_timeout=0 -c lock_timeout=0'
export PGOPTIONS
case $new in *.new-"$job") ;; *) echo "$new is not a directory of $job" >&2; exit 1 ;; esac
if [ "$(cat "$new/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi
control() { "$bin/pg_controldata" "$1" | sed -n "s/^$2: *//p"; }
wal=pg_wal
[ -d "$data/$wal" ] || wal=pg_xlog

find "$new" -mindepth 1 -delete # an earlier attempt of this same job
echo "copying $data: shared with it where the file system can, else block by block"
cd "$data"
for name in * .[!.]*; do
    case $name in
    pg_wal | pg_xlog) mkdir -p "$new/$name/archive_status" ;;
    # what a copy must not have (the manual's "Backing Up the Data Directory")
    pg_replslot | pg_dynshmem | pg_notify | pg_serial | pg_snapshots | pg_stat_tmp | pg_subtrans) mkdir "$new/$name" ;;
    postmaster.* | pgpanel.* | recovery.* | *.signal | backup_label* | backup_manifest | tablespace_map* | log | pg_log | core | core.*) ;;
    *) if [ -e "$name" ]; then cp -a --reflink=auto -- "$name" "$new/"; fi ;;
    esac
done
{ sync -f "$new" 2>/dev/null || sync; } & # it waits for the disk while the rest waits for the processor
syncing=$!
trap 'kill $syncing 2>/dev/null || :' EXIT

# WAL from the last checkpoint on; what is needed from before is asked for below. Without archive_status: then recovery throws none away.
first=$(control "$data" "Latest checkpoint's REDO WAL file" | cut -c9-)
take() { cp -a --reflink=auto -- "$1" "$new/$wal/"; }
for file in "$data/$wal"/*; do
    name=${file##*/}
    case $name in
    *.history) take "$file" ;;
    *.* | archive_status) ;;
    *) if [ -f "$file" ] && [ "${#name}" = 24 ] && ! [ "${name#????????}" \< "$first" ]; then take "$file"; fi ;;
    esac
done
fetch() { # one more WAL file: from the old directory, the archive here, or the primary's pg_wal and archive
    for place in "$data/$wal" "$archive"; do
        if [ -f "$place/$1" ]; then echo "$1 comes from $place"; take "$place/$1"; return 0; fi
    done
    for place in "$wal" "$archive_there"; do
        echo "SELECT encode(pg_read_binary_file(:'file'), 'base64');" |
            "$bin/psql" -XqAtw -v ON_ERROR_STOP=1 -v file="$place/$1" -f - "$source" 2>/dev/null | base64 -d >"$new/$wal/$1.part" || :
        if [ -s "$new/$wal/$1.part" ]; then
            echo "$1 comes from the primary's $place"
            mv "$new/$wal/$1.part" "$new/$wal/$1"
            return 0
        fi
    done
    rm -f "$new/$wal/$1.part"
    return 1
}

case $(control "$new" 'Database cluster state') in
'shut down' | 'shut down in recovery') ;;
*)
    echo 'it was not shut down: its own WAL is replayed first, in the copy'
    own=$conf
    if [ "${conf#"$data"/}" != "$conf" ]; then own=$new/${conf#"$data"/}; fi
    # archive_mode keeps every WAL file: the way back to the common checkpoint needs them
    "$bin/postgres" --single -D "$new" -c config_file="$own" -c data_directory="$new" -c archive_mode=on -c archive_command=false \
        -c logging_collector=off -c log_destination=stderr template1 </dev/null || { echo 'its own WAL cannot be replayed' >&2; exit 1; }
    ;;
esac

sync_option= has_all=
if "$bin/pg_rewind" --help | grep -q -e --no-sync; then sync_option=--no-sync; fi # all at once below
said=$(mktemp)
trap 'rm -f "$said"; kill $syncing 2>/dev/null || :' EXIT
while :; do
    code=$({ { { "$bin/pg_rewind" -D "$new" --source-server="$source" -P $sync_option 2>&1 3>&- 4>&-; echo $? >&3; } | tee "$said" >&4; } 3>&1; } 4>&2)
    [ "$code" != 0 ] || break
    missing=$(sed -n 's/.*could not open file ".*\/\([0-9A-F]\{24\}\)".*/\1/p' "$said" | tail -n 1)
    [ -n "$missing" ] || exit 1
    [ ! -e "$new/$wal/$missing" ] || exit 1
    if [ -z "$has_all" ]; then # what the old directory has, at once
        has_all=yes
        for file in "$data/$wal"/*; do
            name=${file##*/}
            if [ -f "$file" ] && [ "${#name}" = 24 ] && [ ! -e "$new/$wal/$name" ]; then take "$file"; fi
        done
        if [ -e "$new/$wal/$missing" ]; then echo "$missing and others come from $data/$wal"; continue; fi
    fi
    fetch "$missing" || { echo "$missing, which leads back to what both have in common, is neither in $data/$wal nor in $archive, nor has the primary it" >&2; exit 1; }
done

found=$(control "$new" 'Database system identifier')
[ "$found" = "$identifier" ] || { echo "the copy is of another database system: $found, not $identifier" >&2; exit 1; }
rm -f "$new"/recovery.* "$new"/*.signal "$new"/postmaster.*
find "$new/pg_replslot" -mindepth 1 -delete
# its replay begins at the common checkpoint: WAL from there on that the primary has recycled is fetched, on the timeline that it followed
start=$(sed -n 's/^START WAL LOCATION: .*(file [0-9A-F]\{8\}\([0-9A-F]\{16\}\)).*/\1/p' "$new/backup_label" 2>/dev/null || :)
history=$(ls "$new/$wal" | grep -E '^[0-9A-F]{8}\.history$' | sort | tail -n 1)
if [ -n "$start" ] && [ -n "$history" ]; then
    per_log=$((0x100000000 / $(control "$new" 'Bytes per WAL segment')))
    number() { echo $((0x${1%????????} * per_log + 0x${1#????????})); } # of LLLLLLLLSSSSSSSS
    newest=$(ls "$new/$wal" | grep -E "^${history%.history}[0-9A-F]{16}\$" | sort | tail -n 1 | cut -c9-)
    segment=$(number "$start") last=$(number "${newest:-$start}")
    while [ "$segment" -lt "$last" ]; do
        suffix=$(printf '%08X%08X' $((segment / per_log)) $((segment % per_log)))
        # the timeline that this file is of: the first that was left behind its end, else the newest
        timeline=${history%.history}
        while read -r left where _; do
            case $where in */*) ;; *) continue ;; esac
            at=$((0x${where%/*} * per_log + 0x${where#*/} / (0x100000000 / per_log)))
            if [ "$segment" -lt "$at" ]; then timeline=$(printf '%08X' "$left"); break; fi
        done <"$new/$wal/$history"
        if [ ! -e "$new/$wal/$timeline$suffix" ]; then
            fetch "$timeline$suffix" || { echo "$timeline$suffix, which it has to replay, is nowhere any more" >&2; exit 1; }
        fi
        segment=$((segment + 1))
    done
fi
# none of this WAL is this server's to archive, should it be promoted one day
rm -rf "$new/$wal/archive_status"
mkdir "$new/$wal/archive_status"
for name in $(ls "$new/$wal" | grep -E '^[0-9A-F]{24}$|\.history$'); do : >"$new/$wal/archive_status/$name.done"; done
# from here on it can never come up as a second primary
case $standby in
standby.signal) : >"$new/standby.signal" ;;
recovery.conf) echo "standby_mode = 'on'" >"$new/recovery.conf" ;;
esac
wait $syncing || :
sync -f "$new" 2>/dev/null || sync
echo "$job" >"$new/pgpanel.job.part"
sync "$new/pgpanel.job.part" 2>/dev/null || sync
mv "$new/pgpanel.job.part" "$new/pgpanel.job"
echo 'rewound'
