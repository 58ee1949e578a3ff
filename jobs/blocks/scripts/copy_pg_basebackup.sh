# A base backup into an empty directory of the job's own; a marker file that names the job is written last.
# $1 directory  $2 bin directory  $3 job  $4 system identifier  $5 compressions to try, best first ("none": no compression)
# $6 what makes it a standby ("standby.signal", "recovery.conf", "": it stays a plain backup)  $7 "verify" or ""  then: pg_basebackup's options
set -eu
umask 077
new=$1 bin=$2 job=$3 identifier=$4 compressions=$5 standby=$6 verify=$7
shift 7
case $new in *.new-"$job") ;; *) echo "$new is not a directory of $job" >&2; exit 1 ;; esac
if [ "$(cat "$new/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi

# written to the disk below, all at once
if "$bin/pg_basebackup" --help | grep -q -e --no-sync; then set -- --no-sync "$@"; fi
said=$(mktemp)
trap 'rm -f "$said"' EXIT
copy() { # what it says is kept too, to tell why it failed
    find "$new" -mindepth 1 -delete # an earlier attempt of this same job
    code=$({ { { "$bin/pg_basebackup" -D "$new" -w -P -v "$@" 2>&1 3>&- 4>&-; echo $? >&3; } | tee "$said" >&4; } 3>&1; } 4>&2)
    [ "$code" = 0 ]
}

is_copied=no
for compression in $compressions; do
    if [ "$compression" = none ]; then
        if copy "$@"; then is_copied=yes; fi
        break
    fi
    if copy --compress="server-$compression" "$@"; then is_copied=yes; break; fi
    # only a build without this compression is asked again, for another
    grep -q -i -e 'compress' "$said" && ! grep -q 'start point' "$said" || break
done
[ $is_copied = yes ]

found=$(LC_ALL=C "$bin/pg_controldata" "$new" | sed -n 's/^Database system identifier: *//p')
[ "$found" = "$identifier" ] || { echo "the copy is of another database system: $found, not $identifier" >&2; exit 1; }
# reading it for the check while it is written to the disk: the one waits for the processor, the other for the disk
{ sync -f "$new" 2>/dev/null || sync; } &
if [ "$verify" = verify ]; then
    echo 'verifying the copy against its manifest'
    "$bin/pg_verifybackup" -q "$new"
fi
wait $!
rm -f "$new/recovery.conf" "$new/standby.signal" "$new/recovery.signal" "$new/recovery.done"
# from here on it can never come up as a second primary
case $standby in
standby.signal) : >"$new/standby.signal" ;;
recovery.conf) echo "standby_mode = 'on'" >"$new/recovery.conf" ;;
esac
echo "$job" >"$new/pgpanel.job.part"
sync "$new/pgpanel.job.part" 2>/dev/null || sync
mv "$new/pgpanel.job.part" "$new/pgpanel.job"
echo 'copied'
