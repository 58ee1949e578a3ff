# What a rebuild asks of a host besides the usual look: which WAL lies here, where timelines were left, which directories are kept, which
# copies were begun.
# $1 data directory  $2 WAL archive
data=$1 archive=$2
wal=$data/pg_wal
[ -d "$wal" ] || wal=$data/pg_xlog
ls "$wal" "$archive" 2>/dev/null | grep -E '^[0-9A-F]{24}$' | sort -u | tail -n 5000 | sed 's/^/wal /'
history=$(ls "$wal" "$archive" 2>/dev/null | grep -E '^[0-9A-F]{8}\.history$' | sort | tail -n 1)
if [ -n "$history" ]; then
    cat "$wal/$history" 2>/dev/null || cat "$archive/$history" 2>/dev/null
fi | sed -n 's/^[[:space:]]*\([0-9][0-9]*\)[[:space:]][[:space:]]*\([0-9A-F/]*\).*/left \1 \2/p'
[ -z "$history" ] || echo "history ${history%.history}"
for old in "$data".old-*; do
    [ -f "$old/pgpanel.old" ] || continue
    printf 'old %s|' "$old"
    tr '\n' '|' <"$old/pgpanel.old"
    echo
done
for new in "$data".new-job-*; do
    [ ! -d "$new" ] || [ -L "$new" ] || [ ! -O "$new" ] || echo "new $new"
done
exit 0
