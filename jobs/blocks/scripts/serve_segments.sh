# The WAL of this node (before this: data and archive as assignments). It only reads. "list": a line for each whole file that is what
# its name says, newest last: "archive|wal <name> <system identifier's bytes>", "open" for the one that pg_wal ends with, "history <name>".
# "get <name>": that file.
export LC_ALL=C
set -f
# shellcheck disable=SC2086
[ -z "${SSH_ORIGINAL_COMMAND:-}" ] || set -- $SSH_ORIGINAL_COMMAND
wal=$data/pg_wal
[ -d "$wal" ] || wal=$data/pg_xlog

places() { # its archive, and what waits in it for a node that was away
    echo "$archive"
    set +f
    for each in "$archive"/.pgpanel/spool/*; do [ -d "$each" ] && echo "$each"; done
    set -f
}

listed() { # what, directory
    cd "$2" 2>/dev/null || return 0
    names=$(ls | grep -Ex '[0-9A-F]{24}' | sort -k1.9 | tail -n 5000)
    ls | grep -Ex '[0-9A-F]{8}\.history' | sed 's/^/history /'
    [ -n "$names" ] || return 0
    # shellcheck disable=SC2086
    set -- "$1" $names
    # the first 40 bytes of each: a file that was recycled for later still begins with the position that it was of
    { shift; printf '%s\n' "$@"; echo; head -q -c 40 -- "$@" | od -An -v -w40 -tx1; } | awk -v what="$1" -v bytes="$(stat -c %s "$2")" '
        function number(text, i, sum) {
            text = tolower(text)
            for (i = 1; i <= length(text); i++) sum = sum * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
            return sum
        }
        !headers && $0 == "" { headers = 1; next }
        !headers { name[++count] = $1; next }
        {
            file = name[++row]
            log_id = number(substr(file, 9, 8)); offset = number(substr(file, 17, 8)) * bytes
            low = number($12 $11 $10 $9); high = number($16 $15 $14 $13)
            is_new = high == log_id && low == offset # since 9.3; before, the two stand the other way round
            if (is_new || (low == log_id && high == offset)) {
                if (last != "") print what, last
                last = file " " (is_new ? $32 $31 $30 $29 $28 $27 $26 $25 : $24 $23 $22 $21 $20 $19 $18 $17)
            }
        }
        END { if (last != "") print (what == "wal" ? "open" : what), last }'
}

case ${1:-} in
list)
    places | while IFS= read -r directory; do listed archive "$directory"; done
    listed wal "$wal"
    ;;
get)
    name=${2:-}
    echo "$name" | grep -Eqx '[0-9A-F]{24}|[0-9A-F]{8}\.history' || exit 1
    { places; echo "$wal"; } | while IFS= read -r directory; do
        if [ -f "$directory/$name" ]; then cat "$directory/$name"; exit 9; fi
    done
    [ $? -ne 9 ] || exit 0
    echo "$name is not here" >&2
    exit 3
    ;;
*) exit 1 ;;
esac
