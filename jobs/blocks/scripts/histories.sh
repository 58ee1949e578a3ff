# The histories of the timelines that this server knows, newest last: a line "file NAME", then its text. $1 data directory
cd "$1" || exit 1
for directory in pg_wal pg_xlog; do
    for file in "$directory"/*.history; do
        [ -f "$file" ] && printf 'file %s\n' "${file##*/}" && cat "$file"
    done
done
exit 0
