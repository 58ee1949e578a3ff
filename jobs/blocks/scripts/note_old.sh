# Note beside the data of a directory that was put aside: by which job, when, until when it is kept, how big it is, and how its WAL ended.
# $1 old directory  $2 bin directory  $3 job  $4 system identifier  $5 days
set -eu
umask 077
old=$1 bin=$2 job=$3 identifier=$4 days=$5
if [ -f "$old/pgpanel.old" ]; then exit 0; fi
control=$(LC_ALL=C "$bin/pg_controldata" "$old")
field() { printf '%s\n' "$control" | sed -n "s/^$1: *//p"; }
[ "$(field 'Database system identifier')" = "$identifier" ] || { echo "$old is of another database system" >&2; exit 1; }
now=$(date +%s)
kb=$(du -sk -- "$old" | cut -f1)
printf 'job=%s\nkept_at=%s\nuntil=%s\nbytes=%s\ntimeline=%s\n' "$job" "$now" $((now + days * 86400)) $((kb * 1024)) \
    "$(field "Latest checkpoint's TimeLineID")" >"$old/pgpanel.old.part"
mv "$old/pgpanel.old.part" "$old/pgpanel.old"
sync "$old/pgpanel.old" 2>/dev/null || sync
