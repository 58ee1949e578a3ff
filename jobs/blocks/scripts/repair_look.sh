# Why a server does not do what it should, in its own words: what its log says that can be a cause, and the head of a backup_label.
# $1 data directory  $2 log file, where the server does not name one itself
export LC_ALL=C
data=$1 log=$2
if [ -f "$data/current_logfiles" ]; then
    read -r _kind named <"$data/current_logfiles"
    case $named in /*) log=$named ;; *) log=$data/$named ;; esac
fi
if [ -f "$data/backup_label" ]; then head -n 6 "$data/backup_label" | sed 's/^/label /'; fi
[ ! -f "$data/postmaster.pid" ] || echo 'stale pid file'
[ -r "$log" ] || exit 0
# since it last started, or last began to stream: what was wrong before that is no longer
tail -c 262144 "$log" | awk '/database system was |started streaming WAL/ { count = 0 }
    /FATAL|PANIC|ERROR|WARNING|paused|has already been removed|forked off|checkpoint record|does not exist/ { kept[++count] = $0 }
    END { for (i = count > 40 ? count - 39 : 1; i <= count; i++) print kept[i] }' |
    grep -av 'due to administrator command' | cut -c1-400 | sed 's/^/log /'
exit 0
