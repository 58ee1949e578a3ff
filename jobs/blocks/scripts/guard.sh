#!/bin/sh
# The start guard: runs as the owner of the data directory before PostgreSQL starts, and asks the other nodes whether this one was left
# behind. If a node of the same database system is on a later timeline, or takes writes on this very one, standby.signal (recovery.conf up
# to 11) is put in place, so that the server comes up read-only. Nobody answers: it starts as it is. Whatever goes wrong in here: it
# starts as it is, and guard.failed says what. Beside it: guard.settings, guard.peers, guard.follow-<node>; it writes guard.said, guarded,
# guard.history (the leader's).
umask 077
cd "$(dirname "$0")" || exit 0
LC_ALL=C PGPASSFILE=$PWD/pgpass
export LC_ALL PGPASSFILE
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGSERVICE PGSERVICEFILE PGOPTIONS PGSSLMODE PGREQUIREPEER PGTARGETSESSIONATTRS

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
say() { echo "pgpanel guard: $1"; echo "$(now) $1" >guard.said; }
failed() { echo "pgpanel guard: $1; PostgreSQL starts as it is" >&2; echo "$(now) $1" >guard.failed; exit 0; }

is_standby() {
    case $signal in
    standby.signal) [ -e "$data/standby.signal" ] || [ -e "$data/recovery.signal" ] ;;
    *) [ -e "$data/recovery.conf" ] ;;
    esac
}

control() { printf '%s\n' "$control" | sed -n "s/^$1: *//p"; }

# where the server would go on as a primary: the control file's checkpoint, or the end of recovery just after a promotion
look_at_own() {
    control=$("$bin/pg_controldata" "$data") || return 1
    system=$(control 'Database system identifier')
    timeline=$(control "Latest checkpoint's TimeLineID")
    recovered=$(control "Min recovery ending loc's timeline")
    [ "${recovered:-0}" -le "${timeline:-0}" ] || timeline=$recovered
    [ -n "$system" ] && [ "${timeline:-0}" -gt 0 ]
}

# the others may be booting too, and the network may come up after us: more patience in the first minutes of a host
patience() {
    read -r up _ </proc/uptime && read -r line </proc/1/stat || return
    line=${line##*) }
    set -- $line
    [ $((${up%.*} - ${20} / $(getconf CLK_TCK))) -gt 300 ] || seconds=$boot_seconds
}

# one line of answer: node, system identifier, timeline, position, and from 10 on whether it is read-only ("on" in recovery)
ask() { # node, address, port
    limit=
    if command -v timeout >/dev/null; then limit='timeout 3'; fi
    while :; do
        answer=$(printf 'IDENTIFY_SYSTEM;\nSHOW transaction_read_only;\n' | $limit "$psql" -XqAtw -F ' ' -f - \
            "host=$2 port=$3 user=$role dbname=postgres replication=true connect_timeout=2 application_name=pgpanel_guard" 2>/dev/null)
        case $answer in [0-9]*) echo "$1" $answer; return ;; esac
        [ "$(date +%s)" -lt "$deadline" ] || return
        sleep 0.2
    done
}

ask_all() {
    deadline=$(($(date +%s) + seconds))
    while read -r node address port; do
        [ -z "$node" ] || ask "$node" "$address" "$port" &
    done <guard.peers
    wait
}

judge() { # what was answered: → leader, its timeline, why
    leader= later=$timeline why= heard=0
    while read -r node its_system its_timeline _ read_only; do
        [ -n "$node" ] && [ "$its_system" = "$system" ] || continue
        heard=$((heard + 1))
        if [ "$its_timeline" -gt "$later" ]; then
            leader=$node later=$its_timeline why="is on the later timeline $its_timeline"
        elif [ "$its_timeline" = "$later" ] && [ "$read_only" = off ]; then
            leader=$node
            if [ "$later" = "$timeline" ]; then why="takes writes on timeline $its_timeline"; else why="is the primary of timeline $later"; fi
        fi
    done <<ANSWERS
$1
ANSWERS
}

hold_back() { # first the file that makes it a standby: what comes behind may take its time, and this script may be ended
    rm -f guard.history
    place || failed "$data/$signal cannot be written, though $leader $why"
    sync "$data" 2>/dev/null || :
    printf 'at=%s\npeer=%s\npeer_timeline=%s\ntimeline=%s\nwhy=%s %s\n' "$(now)" "$leader" "$later" "$timeline" "$leader" "$why" >guarded
    say "$leader $why, this data directory is of timeline $timeline: it starts read-only"
    learn_history
    settle || echo "pgpanel guard: $config stays as it is; it follows nobody" >&2
}

place() {
    if [ "$signal" = standby.signal ]; then : >"$data/.pgpanel.guard"; else leading >"$data/.pgpanel.guard"; fi &&
        mv -f "$data/.pgpanel.guard" "$data/$signal"
}

learn_history() { # the leader's
    limit=
    if command -v timeout >/dev/null; then limit='timeout 3'; fi
    $limit "$psql" -XqAtw -c "TIMELINE_HISTORY $later" "$(sed -n "s/^$leader \([^ ]*\) \([0-9]*\)$/host=\1 port=\2/p" guard.peers) \
        user=$role dbname=postgres replication=true connect_timeout=2" >guard.history 2>/dev/null || rm -f guard.history
}

settle() { # whom it follows, or that it stays on its own timeline, where its version reads that
    if [ "$signal" = standby.signal ]; then follow; else place; fi
}

leading() { # the settings by which it follows the leader, or stays on its own timeline
    if ! has_parted; then cat "guard.follow-$leader"; return; fi
    sed '/^recovery_target_timeline/d' "guard.follow-$leader"
    [ "$signal" != standby.signal ] || echo "recovery_target_timeline = 'current'"
}

# PostgreSQL refuses to start along a timeline that left its own before its last checkpoint, or before its minimum recovery point.
has_parted() {
    left_at=$(sed -n "s/^\(.*|\)\{0,1\}${timeline}[[:space:]]\{1,\}\([0-9A-F]\{1,8\}\/[0-9A-F]\{1,8\}\).*/\2/p" guard.history 2>/dev/null | tail -n 1)
    [ -n "$left_at" ] || return
    lies_beyond "$(control 'Latest checkpoint location')" || lies_beyond "$(control 'Minimum recovery ending location')"
}

lies_beyond() { # position: behind $left_at
    case $1 in */*) [ $((0x${1%/*} * 4294967296 + 0x${1#*/})) -gt $((0x${left_at%/*} * 4294967296 + 0x${left_at#*/})) ] ;; *) false ;; esac
}

# it was held back, and has not gone on since: as a standby it may have replayed what the leader never had, and would not start again
stay() {
    leader=$(sed -n 's/^peer=//p' guarded)
    [ -f "guard.follow-$leader" ] && has_parted || return
    settle
}

# from 12 on whom to follow stands in postgresql.conf: at the end of the managed block, which the next job writes anew
follow() {
    [ -f "$config" ] && [ ! -L "$config" ] && grep -q '^# <<< pgpanel' "$config" && cp -p "$config" "$config.guard" || return
    {
        sed -e '/^# guard begins/,/^# guard ends/d' -e '/^# <<< pgpanel/,$d' "$config"
        echo '# guard begins'
        leading
        echo '# guard ends'
        sed -n '/^# <<< pgpanel/,$p' "$config"
    } >"$config.guard" && mv -f "$config.guard" "$config"
}

main() {
    . ./guard.settings || return
    if [ -e guard.off ]; then say 'switched off by guard.off'; return 0; fi
    if [ ! -f "$data/PG_VERSION" ]; then say "there is no data directory $data"; return 0; fi
    rm -f guard.failed
    if is_standby; then
        # what held it back is over once it has gone on to a later timeline as a standby
        if [ -f guarded ] && look_at_own; then
            if [ "$timeline" -gt "$(sed -n 's/^timeline=//p' guarded)" ]; then rm -f guarded guard.history; else stay; fi
        fi
        say 'it starts as a standby'
        return 0
    fi
    look_at_own || failed "pg_controldata cannot read $data"
    psql=$bin/psql
    [ -x "$psql" ] || psql=$(command -v psql) || failed 'there is no psql to ask the others with'
    patience 2>/dev/null
    answers=$(ask_all)
    judge "$answers"
    if [ -n "$leader" ]; then hold_back; return 0; fi
    rm -f guarded guard.history
    say "it starts as it is on timeline $timeline: $heard of $(grep -c . guard.peers) other nodes answered, none is ahead"
}

# in a shell of its own, so that an error of ours ends only that
(main) || failed "it ended with $?"
