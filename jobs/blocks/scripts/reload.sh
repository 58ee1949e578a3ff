# Let the server read its configuration files anew, and come back when it has: its own word for the time of its last reading changes.
# $1 data directory  $2 bin directory  $3 owner  $4 SQL for what is wrong in the files ("" = the version cannot tell)  $5 what waits
set -eu
data=$1 bin=$2 owner=$3 wrong=$4 waiting=$5
port=$(sed -n 4p "$data/postmaster.pid") socket=$(sed -n 5p "$data/postmaster.pid")
ask() {
    PGAPPNAME=pgpanel PGCONNECT_TIMEOUT=5 "$bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "$port" -U "$owner" \
        -d postgres -c "$1"
}
if [ -n "$wrong" ]; then
    found=$(ask "$wrong")
    if [ -n "$found" ]; then printf 'nothing is read from these files while this is wrong in them:\n%s\n' "$found" >&2; exit 1; fi
fi
before=$(ask 'SELECT pg_conf_load_time()')
ask 'SELECT pg_reload_conf()' >/dev/null
tries=0
after=$before
until [ "$after" != "$before" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo 'it has not read them within 10 s' >&2; exit 1; }
    sleep 0.1
    after=$(ask 'SELECT pg_conf_load_time()')
done
if [ -n "$waiting" ]; then ask "$waiting" | sed 's/$/ waits for a restart/' >&2; fi
echo "$before -> $after"
