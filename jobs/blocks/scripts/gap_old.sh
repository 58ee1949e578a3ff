# The old primary's part of a switchover's write gap: one word a line is heard, one line is answered.
# state, checkpoint, fill, stop SECONDS, fence, salvage, read LSN TIMELINE, start, rollback, settle, still, leave
# Between "stop" and "fence" it starts the primary again by itself when nobody speaks any more (the end of the input, or silence).
# That start and the fence each begin with the rename of the same file, so only one of them can happen.
# $1 data directory  $2 bin directory  $3 owner  $4 port  $5 the fence as it is staged  $6 as it works  $7 as it is taken back
# $8 seconds of silence after the stop  $9 at other times  $10 the candidate's address
# $11 a directory that holds the archiver while it is there ("" = none)  $12 how many words start the server
# then: those words, then the words that let it start by itself again
set -u
umask 077
trap '' HUP PIPE
cd /
data=$1 bin=$2 owner=$3 port=$4 staged=$5 fence=$6 unfenced=$7 silence=$8 patience=$9
shift 9
candidate=$1 hold=$2 count=$3
shift 3
at=idle pid='' since='' shm='' socket='' was_told=no
LAGGARD_SECONDS=2 STUBBORN_SECONDS=10 START_SECONDS=120 END_SECONDS=900 PAGE_BYTES=8192 READ_PAGES=4

answer() { printf '%s\n' "$*"; }

hear() { # seconds; sets `said`. 0 a word, 1 the end of the input, 2 silence
    said=$(timeout "$1" sh -c 'IFS= read -r line || exit 9; printf %s "$line"')
    case $? in 0) return 0 ;; 124) return 2 ;; *) return 1 ;; esac
}

as_owner() {
    if [ "$(id -un)" = "$owner" ]; then "$@"
    elif command -v runuser >/dev/null; then runuser -u "$owner" -- "$@"
    else su -s /bin/sh -c 'exec "$0" "$@"' -- "$owner" "$@"; fi
}

sql() { as_owner "$bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 ${socket:+-h "$socket"} -p "$port" -U "$owner" -d postgres -c "$1" </dev/null; }

started_at() { # pid; sets `began`, in ticks since the boot; false for a process that is gone, or dead and not yet buried
    began=''
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    set -- ${stat##*") "}
    case $1 in Z | X) return 1 ;; esac
    began=${20}
}

server() { # sets pid, since, shm, socket of the postmaster that runs on the data directory
    line=0 found='' memory='' where=''
    { while IFS= read -r text; do
        line=$((line + 1))
        case $line:$text in
        1:*) found=$text ;;
        5:/*) where=$text ;;
        *:*[!0-9\ ]*) ;;
        *\ *) memory=${text##* } ;; # key and id
        esac
    done <"$data/postmaster.pid"; } 2>/dev/null
    case $found in '' | *[!0-9]*) return 1 ;; esac
    started_at "$found" && [ "/proc/$found/cwd" -ef "$data" ] || return 1
    pid=$found since=$began shm=$memory socket=$where
}

runs() { # whether the postmaster that was last seen still does
    [ -n "$pid" ] && started_at "$pid" && [ "$began" = "$since" ]
}

is_attached() { # a process that survived its postmaster holds the shared memory
    while read -r _ id _ _ _ _ count_attached _; do
        if [ "$id" = "$shm" ] && [ "$count_attached" != 0 ]; then return 0; fi
    done </proc/sysvipc/shm
    return 1
}

control() { # sets state, lsn, timeline
    state='' lsn='' timeline=''
    while IFS=: read -r name value; do
        value=${value#"${value%%[! ]*}"}
        case $name in
        'Database cluster state') state=$value ;;
        'Latest checkpoint location') lsn=$value ;;
        "Latest checkpoint's TimeLineID") timeline=$value ;;
        esac
    done <<EOF
$("$bin/pg_controldata" "$data" 2>/dev/null)
EOF
}

tell_state() {
    control
    if server; then
        case $state in 'in production') role=primary ;; 'in archive recovery') role=standby ;; *) role=busy ;; esac
    else
        case $state in 'shut down') role=stopped ;; 'shut down in recovery') role=rested ;; *) role=crashed ;; esac
    fi
    if [ -e "$unfenced" ]; then file=unfenced
    elif [ -e "$staged" ]; then file=staged
    elif [ -e "$fence" ]; then file=fenced
    else file=bare; fi
    # found stopped and undecided: the promise to start it again holds for this part too
    case $role:$file in stopped:staged | crashed:staged) at=stopped ;; *:fenced) at=fenced ;; esac
    answer "state $role $file ${lsn:--} ${timeline:-0}"
}

end_senders() { # whose cable or disk holds the stop up; $1 all, others (than the candidate's)
    for stat in /proc/[0-9]*/stat; do
        read -r text 2>/dev/null <"$stat" || continue
        number=${stat%/stat}
        set -- "$1" ${text##*") "}
        [ "$3" = "$pid" ] || continue
        title=$(tr '\0' ' ' <"$number/cmdline" 2>/dev/null)
        case $title in
        *walsender*"$candidate("* | *wal\ sender*"$candidate("*) [ "$1" = all ] || continue ;;
        *walsender* | *wal\ sender*) ;;
        *) continue ;;
        esac
        kill -TERM "${number#/proc/}" 2>/dev/null
    done
}

until_gone() { # seconds
    waited=0
    while runs; do
        [ "$waited" -lt "$1" ] || return 1
        [ "$waited" -ne "$LAGGARD_SECONDS" ] || end_senders others
        [ "$waited" -ne "$STUBBORN_SECONDS" ] || end_senders all
        timeout 1 tail --pid="$pid" -s 0.001 -f /dev/null
        waited=$((waited + 1))
    done
    tries=0
    while is_attached; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || return 1
        sleep 0.002
    done
}

hold_archiver() { # from now on, and for some minutes
    [ -n "$hold" ] || return 0
    rmdir "$hold" 2>/dev/null
    mkdir "$hold" 2>/dev/null
}

free_archiver() {
    [ -z "$hold" ] || rmdir "$hold" 2>/dev/null
}

is_archiving() { # a file that was begun before
    for line in /proc/[0-9]*/cmdline; do
        read -r text 2>/dev/null <"$line"
        case $text in *"${hold%/*}/push"*) return 0 ;; esac
    done
    return 1
}

until_archiver_rests() {
    [ -n "$hold" ] || return 0
    tries=0
    while is_archiving && [ "$tries" -lt 200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
}

# A server that archives ends its WAL file when it stops, and the rest of that file, empty, still goes to every standby while nobody
# can write: so it is filled before, but for what may be written until then. Not where a logical consumer would see the filling.
FILLING="SELECT pg_logical_emit_message(false, 'pgpanel', repeat(' ', (size - used - 1048576)::int)) FROM (
    SELECT size, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') % size AS used
    FROM pg_size_bytes(current_setting('wal_segment_size')) size) AS file
WHERE size - used > 2097152 AND size <= 67108864 AND current_setting('archive_mode') <> 'off'
AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'logical')"

fill() {
    read -r major <"$data/PG_VERSION"
    case $major in 9.*) answer 'filled nothing'; return ;; esac
    if [ -n "$(sql "$FILLING" 2>/dev/null)" ]; then answer filled; else answer 'filled nothing'; fi
}

stop() { # seconds
    if [ ! -e "$staged" ] || [ -e "$unfenced" ]; then answer 'refused nothing is staged'; return; fi
    if ! runs; then answer 'refused it is not the server that was seen'; return; fi
    at=stopped was_told=yes
    if ! kill -INT "$pid"; then answer 'refused it cannot be signalled'; return; fi
    if ! until_gone "$1"; then answer 'stuck'; return; fi
    control
    if [ "$state" = 'shut down' ]; then answer "stopped $lsn $timeline"; else answer "unclean $state"; fi
}

put_fence() {
    if mv -f "$staged" "$fence" 2>/dev/null; then
        at=fenced
        # whoever started it before the rename did not see it
        if server; then answer running; else answer fenced; fi
        sync "$fence" "$data" 2>/dev/null || sync
    elif [ ! -e "$unfenced" ] && [ -e "$fence" ]; then at=fenced; answer fenced
    else answer lost; fi
}

salvage() { # the WAL files that the stop did not wait for go to the other nodes' archives now
    for wal in "$data/pg_wal" "$data/pg_xlog"; do
        for ready in "$wal"/archive_status/*.ready; do
            [ -e "$ready" ] || continue
            name=${ready##*/}
            name=${name%.ready}
            as_owner "${hold%/*}/push" "$wal/$name" "$name" </dev/null >/dev/null 2>&1 || return 1
            mv -f "$ready" "$wal/archive_status/$name.done"
        done
    done
}

# A part of a WAL file from the page of this position on: "wal NAME OFFSET BYTES-OF-THE-FILE CONTENT". What the archive never gets, since a
# rollback would go on in that file: its last one, with the shutdown checkpoint.
read_wal() { # "LSN TIMELINE"
    set -f
    set -- $1
    set +f
    for wal in "$data/pg_wal" "$data/pg_xlog"; do
        for any in "$wal"/????????????????????????; do
            [ -f "$any" ] || continue
            bytes=$(stat -c %s "$any")
            name=$(printf '%08X%08X%08X' "$2" $((0x${1%/*})) $((0x${1#*/} / bytes)))
            page=$((0x${1#*/} % bytes / PAGE_BYTES))
            [ -f "$wal/$name" ] || break
            answer "wal $name $((page * PAGE_BYTES)) $bytes $(dd if="$wal/$name" bs=$PAGE_BYTES skip=$page count=$READ_PAGES 2>/dev/null | base64 -w 0)"
            return
        done
    done
    answer "failed $1 of timeline $2 is not here"
}

is_primary() { server && [ "$(sql 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; }

rescue() { # starts it as the primary that it was; $1 fenced: a fence that is in place is taken back
    if ! mv -f "$staged" "$unfenced" 2>/dev/null; then
        if [ "$1" = fenced ] && [ ! -e "$unfenced" ]; then mv -f "$fence" "$unfenced" 2>/dev/null; fi
        [ -e "$unfenced" ] || return 1
    fi
    at=unfenced
    free_archiver
    [ "$was_told" = no ] || until_gone "$END_SECONDS" || return 1
    if ! server; then start "$@"; fi
    tries=0
    until is_primary; do
        tries=$((tries + 1))
        [ "$tries" -lt $((START_SECONDS * 10)) ] || return 1
        if [ $((tries % 50)) -eq 0 ] && ! server; then start "$@"; fi
        sleep 0.1
    done
    sync "$unfenced" "$data" 2>/dev/null || sync
}

start() { # the words after the first
    shift
    number=0
    for word; do # of "$@", the first `count` words
        [ "$number" -ne 0 ] || set --
        [ "$number" -ge "$count" ] || set -- "$@" "$word"
        number=$((number + 1))
    done
    (trap - HUP PIPE; exec setsid "$@") </dev/null >/dev/null 2>&1 &
}

by_itself() { # the words that let it start by itself again: those after the first `count`
    shift "$count"
    [ $# -eq 0 ] || "$@" </dev/null >/dev/null 2>&1
}

server || true
while case $at in stopped) hear "$silence" ;; fenced) hear $((silence * 2)) ;; *) hear "$patience" ;; esac; do
    case $said in
    state) tell_state ;;
    still) answer yes ;;
    checkpoint)
        hold_archiver
        until_archiver_rests
        if why=$(server && sql CHECKPOINT 2>&1); then control; answer "checkpoint $lsn $timeline"; else answer "failed $why"; fi ;;
    fill) fill ;;
    stop\ *) stop "${said#stop }" ;;
    fence) put_fence ;;
    rollback)
        if rescue fenced "$@"; then answer primary; by_itself "$@"; else answer 'failed it does not run as a primary'; fi ;;
    salvage)
        free_archiver
        if [ "$at" = fenced ] && [ -n "$hold" ] && salvage; then answer salvaged; else answer 'failed'; fi ;;
    read\ *) if [ "$at" = fenced ]; then read_wal "${said#read }"; else answer 'failed it is not fenced'; fi ;;
    start) # the standby that the fence makes of it; whether it comes up is asked later
        if [ "$at" = fenced ] && [ -e "$fence" ] && ! server; then start fenced "$@"; fi
        answer starting ;;
    settle) rm -f "$unfenced" "$staged"; by_itself "$@"; at=idle; answer settled ;;
    leave) answer left; break ;;
    *) answer "what? $said" ;;
    esac
done
if [ "$at" = idle ]; then free_archiver; by_itself "$@"; fi # nothing was stopped: all is as before
if [ "$at" = stopped ]; then rescue staged "$@" && by_itself "$@"; fi
exit 0
