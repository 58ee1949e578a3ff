# Stop this PostgreSQL for good: as its service does it, then at once, then by KILL; it ends well only when no process of it is left.
# $1 data directory  $2 seconds for its service's own stop (0 = it is not asked)  then: that command
set -u
data=$(cd -P -- "$1" && pwd -P) || exit 1
patience=$2
shift 2

left() { # the postmaster, and what one that was killed left behind: an orphaned backend may still commit
    found=
    for each in /proc/[0-9]*; do
        [ "$(readlink "$each/cwd" 2>/dev/null)" = "$data" ] || continue
        { read -r name <"$each/comm"; } 2>/dev/null || continue
        { read -r status <"$each/stat"; } 2>/dev/null || continue
        status=${status##*) }
        case $name:$status in *:Z*) ;; postgres:* | postmaster:* | .postgres*) found="$found ${each#/proc/}" ;; esac
    done
    [ -n "$found" ]
}

gone_within() { # tenths of a second
    tries=0
    while left; do
        [ "$tries" -lt "$1" ] || return 1
        tries=$((tries + 1))
        sleep 0.1
    done
}

left || { echo 'no process of it was left'; exit 0; }
postmaster=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
case $found' ' in
*" $postmaster "*)
    limit="timeout $patience"
    command -v timeout >/dev/null || limit=
    if [ "$patience" -gt 0 ]; then
        # shellcheck disable=SC2086
        $limit "$@" </dev/null || echo "its service did not stop it within $patience s" >&2
        gone_within 10 && { echo 'stopped by its service'; exit 0; }
    fi
    kill -INT "$postmaster" 2>/dev/null
    gone_within 20 && { echo 'stopped fast'; exit 0; }
    kill -QUIT "$postmaster" 2>/dev/null
    gone_within 50 && { echo 'stopped at once: the WAL on its disk holds all that it acknowledged'; exit 0; }
    ;;
*)
    echo "its postmaster is gone, these processes of it are left:$found" >&2
    # shellcheck disable=SC2086
    kill -TERM $found 2>/dev/null
    gone_within 10 && { echo 'what was left of it was ended'; exit 0; }
    ;;
esac
left
# shellcheck disable=SC2086
kill -KILL $found 2>/dev/null
gone_within 50 && { echo 'killed: the WAL on its disk holds all that it acknowledged'; exit 0; }
echo "these processes do not end:$found" >&2
exit 1
