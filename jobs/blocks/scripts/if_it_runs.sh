# Run the SQL of the standard input on the server of this data directory, if one answers there; else nothing is done.
# $1 data directory  $2 bin directory  $3 owner
data=$1 bin=$2 owner=$3
pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then exit 0; fi
port=$(sed -n 4p "$data/postmaster.pid") socket=$(sed -n 5p "$data/postmaster.pid")
psql() { # 9.0 has no such line, a server without a socket an empty one
    PGAPPNAME=pgpanel PGCONNECT_TIMEOUT=5 "$bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "$port" -U "$owner" \
        -d postgres -f -
}
psql || echo 'it does not answer' >&2
exit 0
