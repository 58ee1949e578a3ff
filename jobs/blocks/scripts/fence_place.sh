# From now on any start of this server is a standby's; one that takes writes, or is about to, is stopped (by what follows).
# $1 data directory  $2 standby.signal or recovery.conf there  $3 owner  then: as for stopping for good
umask 077
place=$2 owner=$3
had=no
[ -e "$place" ] && had=yes
if [ $had = no ]; then
    case $place in
    *.conf) printf "standby_mode = 'on'\nrecovery_target_timeline = 'latest'\n" >"$place" ;;
    *) : >"$place" ;;
    esac
    if [ "$(id -un)" != "$owner" ]; then chown "$owner" "$place"; fi
    sync "$place" 2>/dev/null || sync
fi
state=$(LC_ALL=C "$4/pg_controldata" "$1" 2>/dev/null | sed -n 's/^Database cluster state: *//p')
if [ $had = yes ] && [ "$state" = 'in archive recovery' ]; then
    echo 'it runs as a standby: it takes no writes'
    exit 0
fi
data=$1
shift 4
set -- "$data" "$@"
