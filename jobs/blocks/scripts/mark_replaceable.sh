# Prove on the host itself that this directory is a standby of that database system, and say so beside its data for this job.
# $1 data directory  $2 bin directory  $3 job  $4 system identifier
set -eu
data=$1 bin=$2 job=$3 identifier=$4
refuse() { echo "$data stays as it is: $1" >&2; exit 1; }
found=$(LC_ALL=C "$bin/pg_controldata" "$data" | sed -n 's/^Database system identifier: *//p')
[ "$found" = "$identifier" ] || refuse "it is the database system $found, not $identifier"
[ -f "$data/standby.signal" ] || [ -f "$data/recovery.conf" ] || refuse 'it is no standby'
umask 077
echo "$job" >"$data/pgpanel.replaceable.part"
mv "$data/pgpanel.replaceable.part" "$data/pgpanel.replaceable"
