# Put the finished copy where the data directory belongs. What stands there is moved aside, never deleted, and only if it is an empty
# directory, or stopped and marked as replaceable by this very job (`pgpanel.replaceable`, written after the proof that it is).
# $1 data directory  $2 copy  $3 aside  $4 job  $5 system identifier of the copy  $6 bin directory  $7 owner
set -eu
data=$1 new=$2 aside=$3 job=$4 identifier=$5 bin=$6 owner=$7

refuse() { echo "$data stays as it is: $1" >&2; exit 1; }
identifier_of() { LC_ALL=C "$bin/pg_controldata" "$1" | sed -n 's/^Database system identifier: *//p'; }
marker_of() { cat "$1/pgpanel.job" 2>/dev/null || true; }

if [ "$(marker_of "$data")" = "$job" ]; then exit 0; fi
[ "$(marker_of "$new")" = "$job" ] || refuse "$new is no finished copy of $job"
[ "$(identifier_of "$new")" = "$identifier" ] || refuse "$new is of another database system"
[ -f "$new/standby.signal" ] || [ -f "$new/recovery.conf" ] || refuse "$new would come up as a primary"

if [ -d "$data" ] && [ -z "$(ls -A "$data")" ]; then
    rmdir "$data"
elif [ -e "$data" ] || [ -L "$data" ]; then
    [ "$(cat "$data/pgpanel.replaceable" 2>/dev/null)" = "$job" ] || refuse "nothing has proven that it may be moved aside"
    [ "$(stat -c %U "$data")" = "$owner" ] || refuse "it does not belong to $owner"
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then refuse 'a server is running on it'; fi
    [ ! -e "$aside" ] || refuse "$aside is in the way"
    mv "$data" "$aside"
fi
mv "$new" "$data"
sync "$(dirname "$data")" 2>/dev/null || sync
