# A checkpoint, and how many WAL files there were before and after it.
# $1 psql  $2 data directory  $3 port, where the server does not say  $4 superuser
count() { find "$data"/pg_wal/ "$data"/pg_xlog/ -maxdepth 1 -type f -name '[0-9A-F]*' 2>/dev/null | wc -l; }
data=$2
port=$(sed -n 4p "$data/postmaster.pid")
socket=$(sed -n 5p "$data/postmaster.pid")
before=$(count)
echo 'CHECKPOINT;' | PGAPPNAME=pgpanel "$1" -X -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "${port:-$3}" -U "$4" -d postgres -f - || exit
echo "WAL files before: $((before)), after: $(($(count)))"
