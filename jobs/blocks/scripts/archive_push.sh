#!/bin/sh
# archive_command of the managed block: push "%p" "%f" gives one finished WAL file to every other node.
# A node that does not answer holds up nothing: its files wait in spool/<node>, at most hold_kb of them, then their names go to
# missed-<node>; it is asked again every retry_seconds. A file that is refused (a node's own differs, or its timeline is dead) fails, unless
# another node takes it: then the refusing one is the one that has gone astray.
umask 077
path=$1 name=$2
case $path in /*) ;; *) path=$PWD/$path ;; esac
cd "${0%/*}" || exit 1
. ./settings

# A switchover stops this server right now, and the stop waits for its archiver: an exit code above 125 ends that one. What is left is
# handed in afterwards. Forgotten, the mark counts for three minutes.
if [ -d hold ] && [ -n "$(find hold -prune -mmin -3 2>/dev/null)" ]; then exit 255; fi

deliver() { # file, name, user, address, port; exit code of the receiver, 255 = not reached
    bytes=$(wc -c <"$1") || return 1
    ssh -T -F /dev/null -i key -p "$5" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 \
        -o ServerAliveInterval=5 -o ServerAliveCountMax=2 -o StrictHostKeyChecking=yes \
        -o UserKnownHostsFile=known_hosts -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR \
        "$3@$4" "$2 $((bytes))" <"$1"
}

keep() { # node: this file waits for it
    mkdir -p "spool/$1"
    used=$(du -sk "spool/$1" | cut -f1)
    if [ $((used + $(wc -c <"$path") / 1024)) -le "$hold_kb" ] && cp "$path" "spool/$1/.$name" && mv "spool/$1/.$name" "spool/$1/$name"; then
        echo "$1 does not take it now: $name waits in spool/$1" >&2
    else
        rm -f "spool/$1/.$name"
        echo "$name" >>"missed-$1"
        echo "$1 does not take it now and its spool is full: $name goes without it" >&2
    fi
}

is_resting() { # node: it was found down a moment ago
    [ -f "down-$1" ] && [ $(($(date +%s) - $(cat "down-$1"))) -lt "$retry_seconds" ]
}

give() { # node, user, address, port
    if is_resting "$1"; then keep "$1"; return; fi
    for waiting in "spool/$1"/*; do
        [ -f "$waiting" ] || continue
        deliver "$waiting" "${waiting##*/}" "$2" "$3" "$4"
        case $? in
        0) rm -f "$waiting" ;;
        3) refused="$refused $1"; return ;;
        *) date +%s >"down-$1"; keep "$1"; return ;;
        esac
    done
    deliver "$path" "$name" "$2" "$3" "$4"
    case $? in
    0) taken=yes; rm -f "down-$1" ;;
    3) refused="$refused $1" ;;
    *) date +%s >"down-$1"; keep "$1" ;;
    esac
}

refused= taken=no
while read -r node user address port; do
    [ -z "$node" ] || give "$node" "$user" "$address" "$port"
done <targets
# what an earlier primary handed in here: no archive_cleanup_command runs on a primary
find .. -maxdepth 1 -type f -name '[0-9A-F]*' ! -name '*.history' -mtime "+$keep_days" -exec rm -f {} +
[ -n "$refused" ] || exit 0
[ "$taken" = yes ] || exit 1
for node in $refused; do
    echo "$node refused $name, which others have taken: $name goes without it" >&2
    echo "$name" >>"missed-$node"
done
