# Delete the unfinished copies that jobs which were given up have left beside a data directory that lives. Each is proven to be one on the
# host itself and emptied; whatever is not stays, and says why.
# $1 data directory  $2 owner  $3 job whose own copy stays
set -u
data=$1 owner=$2 job=$3
failed=0
keep() { echo "$new stays: $1" >&2; }
[ -f "$data/postmaster.pid" ] || { echo "no server runs on $data: what lies beside it stays" >&2; exit 1; }
for new in "$data".new-job-*; do
    [ "$new" != "$data.new-$job" ] && [ -e "$new" ] || continue
    if [ ! -d "$new" ] || [ -L "$new" ]; then keep 'it is no directory'; continue; fi
    if [ "$(stat -c %U "$new")" != "$owner" ]; then keep "it does not belong to $owner"; continue; fi
    real=$(cd "$new" && pwd -P)
    busy=
    for cwd in /proc/[0-9]*/cwd; do
        case $(readlink "$cwd" 2>/dev/null) in "$real" | "$real"/*) busy=yes ;; esac
    done
    if [ -n "$busy" ] || [ -f "$new/postmaster.pid" ]; then keep 'something runs in it'; continue; fi
    echo "deleting $new"
    find "$new" -xdev -mindepth 1 -delete || failed=1
done
exit $failed
