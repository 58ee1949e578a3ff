# SQL from standard input, as the superuser, over the socket that the running server itself names: so that the command stays the same
# whether it runs while somebody plans or not.
# $1 psql  $2 data directory  $3 port, where the server does not say  $4 superuser
port=$(sed -n 4p "$2/postmaster.pid")
socket=$(sed -n 5p "$2/postmaster.pid")
PGAPPNAME=pgpanel exec "$1" -X -A -t -q -w -v ON_ERROR_STOP=1 -h "${socket:-localhost}" -p "${port:-$3}" -U "$4" -d postgres -f -
