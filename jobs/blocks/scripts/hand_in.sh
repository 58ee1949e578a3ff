# What the archiver of a primary that has become a standby had not got to is handed in now; the server no longer does that itself.
# $1 data directory  $2 push  $3 the mark that has held the archiver
data=$1 push=$2
[ ! -d "$3" ] || rmdir "$3"
cd "$data" || exit 1
failed=0
for wal in pg_wal pg_xlog; do
    for ready in "$wal"/archive_status/*.ready; do
        [ -e "$ready" ] || continue
        name=${ready##*/}
        name=${name%.ready}
        if [ ! -e "$wal/$name" ]; then rm -f "$ready"
        elif "$push" "$wal/$name" "$name"; then
            echo "$name handed in"
            mv -f "$ready" "$wal/archive_status/$name.done"
        else failed=1; fi
    done
done
exit $failed
