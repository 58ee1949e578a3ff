# Put a directory that was kept back where the data directory belongs; what stands there is moved aside in its turn, never deleted.
# $1 data directory  $2 kept directory  $3 aside  $4 job  $5 system identifier  $6 bin directory  $7 owner  $8 days
set -eu
umask 077
data=$1 old=$2 aside=$3 job=$4 identifier=$5 bin=$6 owner=$7 days=$8
names='primary_conninfo|primary_slot_name|restore_command|recovery_target_timeline'
refuse() { echo "$data stays as it is: $1" >&2; exit 1; }
control() { LC_ALL=C "$bin/pg_controldata" "$1" | sed -n "s/^$2: *//p"; }
is_running() { pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null || :); [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }
if [ "$(cat "$data/pgpanel.undone" 2>/dev/null)" = "$job" ]; then exit 0; fi
case $old in "$data".old-*) ;; *) refuse "$old is no directory that was kept for it" ;; esac
if [ -d "$data" ]; then
    [ -f "$old/pgpanel.old" ] || refuse "$old is no directory that was kept"
    [ "$(control "$data" 'Database system identifier')" = "$identifier" ] || refuse 'it is another database system'
    is_running "$data" && refuse 'a server is running on it'
    [ ! -e "$aside" ] || refuse "$aside is in the way"
fi
[ "$(control "$old" 'Database system identifier')" = "$identifier" ] || refuse "$old is another database system"
[ "$(stat -c %U "$old")" = "$owner" ] || refuse "$old does not belong to $owner"
is_running "$old" && refuse "a server is running on $old"
# any start of it is a standby's: it was left behind, and must not write beside the primary
[ -f "$old/standby.signal" ] || [ -f "$old/recovery.conf" ] || refuse "$old would come up as a primary"
if [ -d "$data" ]; then
    now=$(date +%s)
    printf 'job=%s\nkept_at=%s\nuntil=%s\nbytes=%s\ntimeline=%s\n' "$job" "$now" $((now + days * 86400)) \
        $(($(du -sk -- "$data" | cut -f1) * 1024)) "$(control "$data" "Latest checkpoint's TimeLineID")" >"$data/pgpanel.old"
    chown "$owner": "$data/pgpanel.old" 2>/dev/null || :
    echo "$job" >"$old/pgpanel.undone" # before the swap: what stands in place says which job put it there
    chown "$owner": "$old/pgpanel.undone" 2>/dev/null || :
    # and it follows nobody: the others' history is not its own (its next rebuild takes these lines out again)
    if [ -f "$old/standby.signal" ]; then
        {
            grep -viE "^[[:space:]]*($names)[[:space:]]*=" "$old/postgresql.auto.conf" 2>/dev/null || :
            printf "%s = ''\n" primary_conninfo primary_slot_name restore_command
            echo "recovery_target_timeline = 'current'"
        } >"$old/postgresql.auto.conf.part"
        mv "$old/postgresql.auto.conf.part" "$old/postgresql.auto.conf"
        chown "$owner": "$old/postgresql.auto.conf" 2>/dev/null || :
    else
        echo "standby_mode = 'on'" >"$old/recovery.conf"
        chown "$owner": "$old/recovery.conf" 2>/dev/null || :
    fi
    mv "$data" "$aside"
fi
mv "$old" "$data"
rm -f "$data/pgpanel.old" "$data/pgpanel.replaceable" "$data/pgpanel.job"
sync "$(dirname "$data")" 2>/dev/null || sync
