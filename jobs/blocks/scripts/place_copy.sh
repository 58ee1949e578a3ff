# Give a finished standalone copy its name. $1 directory  $2 copy  $3 job
set -eu
directory=$1 new=$2 job=$3
if [ "$(cat "$directory/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi
[ "$(cat "$new/pgpanel.job" 2>/dev/null)" = "$job" ] || { echo "$new is no finished copy of $job" >&2; exit 1; }
if [ -d "$directory" ]; then rmdir "$directory"; fi # fails when anything is in it
[ ! -e "$directory" ] || { echo "$directory is in the way" >&2; exit 1; }
mv "$new" "$directory"
sync "$(dirname "$directory")" 2>/dev/null || sync
