# All that a salvage's key may do here (before this: data, bin, segment_bytes, is_linear as assignments): "wal <position>" gives the WAL from
# there on. It only reads. First a line "last <timeline> <start of the last whole record>" ("none": none from there on; "unknown"), then a tar.
cd "$data" || exit 1
set -f
wal=pg_wal
[ -d $wal ] || wal=pg_xlog
# shellcheck disable=SC2086
set -- $SSH_ORIGINAL_COMMAND
[ "${1:-}" = wal ] || exit 1
position=${2:-}
echo "$position" | grep -Eqx '[0-9A-F]{1,8}/[0-9A-F]{1,8}' || exit 1
from=$(printf '%08X%08X' $((0x${position%/*})) $((0x${position#*/} / segment_bytes)))

is_written() { # name: its first page is of this file, not of the one that it was recycled from
    set -- $((0x$(echo "$1" | cut -c1-8))) $((0x$(echo "$1" | cut -c9-16))) $((0x$(echo "$1" | cut -c17-24) * segment_bytes)) "$1"
    [ "$is_linear" = yes ] && expected="$1 $3 $2" || expected="$1 $2 $3"
    # magic and flags, timeline, page address
    [ "$(od -An -v -tu4 -j4 -N12 "$wal/$4" | tr -s ' ' | sed 's/^ //')" = "$expected" ]
}

names=
timeline=0
for name in $(ls "$wal" | grep -E '^[0-9A-F]{24}$|^[0-9A-F]{8}\.history$' | sort); do
    case $name in
    *.history) names="$names $name" ;;
    *)
        [ "$(printf '%s\n%s\n' "$from" "${name#????????}" | sort | head -n 1)" = "$from" ] && is_written "$name" || continue
        names="$names $name"
        [ $((0x$(echo "$name" | cut -c1-8))) -le $timeline ] || timeline=$((0x$(echo "$name" | cut -c1-8)))
        ;;
    esac
done
# replayed exactly to the end of the last file that was written here: nothing follows yet
per_log=$((0x100000000 / segment_bytes))
number() { echo $((0x$(echo "$1" | cut -c1-8) * per_log + 0x$(echo "$1" | cut -c9-16))); } # of LLLLLLLLSSSSSSSS
if [ $timeline -eq 0 ] && [ $((0x${position#*/} % segment_bytes)) -eq 0 ]; then
    name=$(ls "$wal" | grep -E '^[0-9A-F]{24}$' | while read -r each; do
        [ "$(number "${each#????????}")" -ne $(($(number "$from") - 1)) ] || ! is_written "$each" || echo "$each"
    done | sort | tail -n 1)
    if [ -n "$name" ]; then
        echo "last $((0x$(echo "$name" | cut -c1-8))) none"
        tar -cf - -T /dev/null
        exit
    fi
fi
[ $timeline -gt 0 ] || { echo "the WAL from $position on is not here any more" >&2; exit 3; }
case "$names " in *[0-9A-F]"$from "*) ;; *) echo "the WAL at $position is not here any more" >&2; exit 3 ;; esac

dump=$bin/pg_waldump
[ -x "$dump" ] || dump=$bin/pg_xlogdump
last=unknown
if [ -x "$dump" ]; then
    last=$("$dump" -p "$wal" -t $timeline "$position" 2>/dev/null | sed -n 's/.* lsn: \([0-9A-F]*\/[0-9A-F]*\),.*/\1/p' | tail -n 1)
    last=${last:-none}
fi
echo "last $timeline $last"
# shellcheck disable=SC2086
tar -C "$wal" -cf - $names || [ $? -eq 1 ] # 1: a file that a running server wrote into meanwhile
