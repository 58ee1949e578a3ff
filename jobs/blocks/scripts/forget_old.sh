# Delete directories that were kept, each proven to be one on the host itself. Whatever is not is left alone, and says why.
# $1 data directory  $2 bin directory  $3 system identifier  $4 owner  $5 "expired" or "all"  $6 where read-<job> lies  then: the directories
set -eu
data=$1 bin=$2 identifier=$3 owner=$4 which=$5 own=$6
shift 6
refuse() { echo "$old stays: $1" >&2; exit 1; }
for old in "$@"; do
    [ -e "$old" ] || [ -L "$old" ] || continue
    case $old in "$data".old-*/* | "$data".old-) refuse 'that is no kept directory' ;; "$data".old-*) ;; *) refuse 'that is no kept directory' ;; esac
    [ -d "$old" ] && [ ! -L "$old" ] || refuse 'it is no directory'
    [ "$(cd "$old" && pwd -P)" != "$(cd "$data" && pwd -P)" ] || refuse 'it is the data directory itself'
    if [ -z "$(ls -A "$old")" ]; then continue; fi # an earlier attempt has emptied it
    if [ ! -f "$old/pgpanel.forgotten" ]; then
        [ -f "$old/pgpanel.old" ] || refuse 'nothing says that it was kept by a job'
        [ "$(LC_ALL=C "$bin/pg_controldata" "$old" | sed -n 's/^Database system identifier: *//p')" = "$identifier" ] || refuse 'it is another database system'
    fi
    [ "$(stat -c %U "$old")" = "$owner" ] || refuse "it does not belong to $owner"
    real=$(cd "$old" && pwd -P)
    for cwd in /proc/[0-9]*/cwd; do
        [ "$(readlink "$cwd" 2>/dev/null)" != "$real" ] || refuse 'a server is running on it'
    done
    if [ "$which" = expired ] && [ -f "$old/pgpanel.old" ]; then
        until=$(sed -n 's/^until=//p' "$old/pgpanel.old")
        [ "$(date +%s)" -ge "${until:-9999999999}" ] || refuse 'it is kept for longer'
    fi
    job=${old#"$data".old-}
    : >"$old/pgpanel.forgotten" # begun: from here on it is no database any more
    echo "deleting $old"
    find "$old" -xdev -mindepth 1 ! -name pgpanel.forgotten -delete
    rm -f "$old/pgpanel.forgotten" "$own/read-$job"
done
