# The candidate's part of a switchover's write gap: one word a line is heard, one line is answered.
# state, checkpoint, reach LSN SECONDS, await LSN TIMELINE SECONDS, take NAME OFFSET BYTES-OF-THE-FILE CONTENT, promote, still, leave
# It promotes only within a few seconds, by this host's own clock, after it has seen that everything is here.
# $1 data directory  $2 bin directory  $3 owner  $4 port  $5 seconds that "everything is here" holds  $6 seconds of silence
# $7 name of the WAL directory  $8 SQL: replayed up to  $9 SQL: received up to  $10 SQL: the WAL file that is written
# $11 what makes it a standby at its next start  $12 how it is promoted: sql, pg_ctl or trigger  then: the statement, the words after pg_ctl -D …, or the file
set -u
umask 077
trap '' HUP PIPE
cd /
data=$1 bin=$2 owner=$3 port=$4 validity=$5 patience=$6 wal=$7 replayed=$8 received=$9
shift 9
written=$1 standby=$2 how=$3
shift 3
seen_at='' timeline=''
END='pgpanel: that was all'
PROMOTE_SECONDS=60 PAGE_BYTES=8192

answer() { printf '%s\n' "$*"; }

hear() { # seconds; sets `said`
    said=$(timeout "$1" sh -c 'IFS= read -r line || exit 9; printf %s "$line"' 3>&- 4<&-)
}

now() { # sets `up`: seconds since the boot, which no one can set back
    read -r up _ </proc/uptime
    up=${up%.*}
}

connect() { # one psql for the whole time
    disconnect
    work=$(mktemp -d) || return 1
    mkfifo "$work/in" "$work/out" || return 1
    socket=$(sed -n 5p "$data/postmaster.pid" 2>/dev/null)
    PGAPPNAME=pgpanel "$bin/psql" -X -A -t -q -w ${socket:+-h "$socket"} -p "$port" -U "$owner" -d postgres <"$work/in" >"$work/out" 2>&1 &
    exec 3<>"$work/in" 4<"$work/out"
    rm -rf "$work"
}

disconnect() { exec 3>&- 4<&-; }

ask() { # SQL; sets `told`, its last line; false when nobody answers
    told=''
    printf '%s\n\\echo %s\n' "$1" "$END" >&3 || return 1
    while IFS= read -r line <&4; do
        if [ "$line" = "$END" ]; then return 0; fi
        told=$line
    done
    return 1
} 2>/dev/null

is_down() { # no process of the server is left, and it will start as the standby that it was: no promotion can come of itself
    line=0 found='' memory=''
    { while IFS= read -r text; do
        line=$((line + 1))
        case $line:$text in
        1:*) found=$text ;;
        *:*[!0-9\ ]*) ;;
        *\ *) memory=${text##* } ;;
        esac
    done <"$data/postmaster.pid"; } 2>/dev/null
    if [ -n "$found" ] && [ "/proc/$found/cwd" -ef "$data" ]; then return 1; fi
    while read -r _ id _ _ _ _ count _; do
        if [ "$id" = "$memory" ] && [ "$count" != 0 ]; then return 1; fi
    done </proc/sysvipc/shm
    [ -e "$standby" ] && ! "$bin/pg_controldata" "$data" 2>/dev/null | grep -q '^Database cluster state: *in production'
}

control() { # sets timeline
    timeline=$("$bin/pg_controldata" "$data" 2>/dev/null | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
}

tell_state() {
    if ! ask 'SELECT pg_is_in_recovery();'; then connect; ask 'SELECT pg_is_in_recovery();'; fi
    case $told in
    t) control; ask "SELECT $replayed;"; answer "state standby ${told:--} ${timeline:-0}" ;;
    f) tell_timeline; answer "state primary - $number" ;;
    *) if is_down; then answer "state down - 0 $told"; else answer "state silent - 0 $told"; fi ;;
    esac
}

tell_timeline() { # of the WAL that it writes: the control file still names the old one. Sets number, history
    ask "SELECT $written;"
    history=${told%????????????????}
    number=$((0x0$history))
}

is_past() { # LSN of the record's start: replayed up to beyond it
    case $told in */*) ;; *) return 1 ;; esac
    here=$((0x${told%/*})) there=$((0x${1%/*}))
    [ "$here" -gt "$there" ] || { [ "$here" -eq "$there" ] && [ $((0x${told#*/})) -gt $((0x${1#*/})) ]; }
}

await() { # "LSN TIMELINE SECONDS"
    set -f
    set -- $1
    set +f
    seen_at=''
    if [ "$timeline" != "$2" ]; then control; fi
    if [ "$timeline" != "$2" ]; then answer "other $timeline"; return; fi
    if reach "$1 $3"; then now; seen_at=$up; fi
}

reach() { # "LSN SECONDS"
    set -f
    set -- $1
    set +f
    now
    until=$((up + $2)) polls=0
    while ask "SELECT $replayed;"; do
        if is_past "$1"; then answer "past $told"; return; fi
        now
        [ "$up" -le "$until" ] || break
        # without a receiver it looks into its archive every 5 s only: a reload has it look now
        polls=$((polls + 1))
        [ $((polls % 500)) -ne 499 ] || ask 'SELECT pg_reload_conf();'
        ask 'SELECT pg_sleep(0.002);'
    done
    replay=$told
    ask "SELECT $received;"
    answer "behind ${replay:--} ${told:--}"
    return 1
}

take() { # a part of a WAL file, which nobody streams any more, to where this server looks for it
    set -f
    set -- $1
    set +f
    file=$data/$wal/$1
    if [ ! -f "$file" ]; then
        dd if=/dev/zero of="$file.new" bs="$3" count=1 2>/dev/null && mv "$file.new" "$file" || { answer 'failed it cannot be written'; return; }
    fi
    [ "$(stat -c %s "$file")" = "$3" ] || { answer "failed $1 has another size here"; return; }
    if printf %s "$4" | base64 -d | dd of="$file" bs=$PAGE_BYTES seek=$(($2 / PAGE_BYTES)) conv=notrunc,fsync 2>/dev/null; then answer taken; else answer 'failed it cannot be written'; fi
}

promote() {
    now
    if [ -z "$seen_at" ] || [ $((up - seen_at)) -gt "$validity" ]; then answer expired; return; fi
    case $how in
    sql) ask "$1" ;;
    pg_ctl) "$bin/pg_ctl" -D "$data" "$@" >/dev/null 2>&1 3>&- 4<&- ;;
    trigger) : >"$1" ;;
    esac || { answer "failed $told"; return; }
    until=$((up + PROMOTE_SECONDS)) polls=0
    while ask 'SELECT pg_is_in_recovery();' && [ "$told" != f ]; do
        now
        if [ "$up" -gt "$until" ]; then answer 'slow it is still in recovery'; return; fi
        # told while its receiver was just connecting anew, the startup process sleeps for wal_retrieve_retry_interval, 5 s, before it
        # looks for a promotion: a reload wakes it, and changes nothing
        polls=$((polls + 1))
        [ $((polls % 25)) -ne 10 ] || ask 'SELECT pg_reload_conf();'
        ask 'SELECT pg_sleep(0.002);'
    done
    tell_timeline
    parent='' switch=''
    { while read -r first second _; do case $second in */*) parent=$first switch=$second ;; esac; done; } 2>/dev/null \
        <"$data/$wal/$history.history"
    answer "promoted $number ${parent:-0} ${switch:--}"
}

connect
while if [ -n "$seen_at" ]; then hear "$validity"; else hear "$patience"; fi; do
    case $said in
    state) tell_state ;;
    still) answer yes ;;
    checkpoint)
        if ask 'CHECKPOINT;' && [ -z "$told" ]; then control; answer "checkpoint ${timeline:-0}"; else answer "failed $told"; fi ;;
    reach\ *) reach "${said#reach }"; patience=$validity ;; # the stop comes next: who speaks from now on says something every 2 s
    await\ *) await "${said#await }" ;;
    take\ *) take "${said#take }" ;;
    promote) promote "$@"; seen_at='' ;;
    leave) answer left; break ;;
    *) answer "what? $said" ;;
    esac
done
exit 0
