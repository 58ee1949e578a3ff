# Put what is this node's own into the copy that takes its place: its configuration, certificates and whatever else a person laid there.
# What the copy has of them is the primary's. Whom to follow is not said by postgresql.auto.conf: the managed block says it.
# $1 data directory  $2 copy  $3 job
set -eu
umask 077
data=$1 new=$2 job=$3
if [ "$(cat "$data/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi
[ "$(cat "$new/pgpanel.job" 2>/dev/null)" = "$job" ] || { echo "$new is no finished copy of $job" >&2; exit 1; }
cd "$data"
for name in * .[!.]*; do
    case $name in
    pg_hba.conf | pg_ident.conf | recovery.conf) ;;
    PG_VERSION | base | global | pg_* | log | postmaster.* | backup_* | tablespace_map* | recovery.* | *.signal | pgpanel.* | current_logfiles*) continue ;;
    core | core.* | lost+found) continue ;;
    esac
    if [ -f "$name" ] || [ -d "$name" ]; then
        rm -rf -- "$new/$name"
        cp -a -- "$name" "$new/"
    fi
done
if [ -f "$new/postgresql.auto.conf" ]; then
    names='primary_conninfo|primary_slot_name|restore_command|archive_cleanup_command|recovery_end_command|promote_trigger_file|recovery_target[a-z_]*'
    grep -viE "^[[:space:]]*($names)[[:space:]]*=" "$new/postgresql.auto.conf" >"$new/postgresql.auto.conf.part" || :
    mv "$new/postgresql.auto.conf.part" "$new/postgresql.auto.conf"
fi
{ sync -f "$new" 2>/dev/null || sync; }
