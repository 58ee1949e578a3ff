# All that a copy's key may do on the source (before this: data, bin, socket, port, superuser, start_sql, stop_sql, abort_sql as assignments).
# It only reads: a backup session that lives as long as its connection, lists of files, and rsync as the sending side.
cd "$data" || exit 1
set -f
wal=pg_wal
[ -d $wal ] || wal=pg_xlog

session() {
    {
        printf '%s\n' "$start_sql" '\echo started'
        word=
        read -r word || word=lost
        # when the connection breaks, a backup of the old, exclusive kind would stay on: it is ended too
        if [ "$word" = stop ]; then printf '%s\n' "$stop_sql" '\echo stopped'; else printf '%s\n' "$abort_sql"; fi
    } | "$bin/psql" -X -q -A -t -w -v ON_ERROR_STOP=1 -h "$socket" -p "$port" -U "$superuser" -d postgres -f -
}

# what a copy must not have stays out (the manual's "Backing Up the Data Directory")
list() {
    find . -mindepth 1 -path "./$wal/*" -prune -o -path './pg_replslot/*' -prune -o -path './pg_dynshmem/*' -prune -o -path './pg_notify/*' -prune \
        -o -path './pg_serial/*' -prune -o -path './pg_snapshots/*' -prune -o -path './pg_stat_tmp/*' -prune \
        -o -path './pg_subtrans/*' -prune -o -name 'pgsql_tmp*' -prune -o -name pg_internal.init -prune \
        -o -type d -printf 'd 0 %P\n' \
        -o -type f ! -path './global/pg_control' ! -path './postmaster.*' ! -path './pgpanel.*' ! -path './backup_manifest' \
        ! -path './recovery.conf' ! -path './recovery.done' ! -path './*.signal' ! -path './current_logfiles*' -printf 'f %s %P\n'
}

case $SSH_ORIGINAL_COMMAND in
session) session ;;
list) list ;;
wal) ls "$wal" | grep -E '^[0-9A-F]{24}$|\.history$' | sort ;;
'rsync --server --sender '*)
    case $SSH_ORIGINAL_COMMAND in *' /'* | *'..'* | *' ~'*) exit 1 ;; esac
    # shellcheck disable=SC2086
    exec $SSH_ORIGINAL_COMMAND
    ;;
*) exit 1 ;;
esac
