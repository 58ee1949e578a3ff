# What makes a directory in /etc/postgresql a cluster of postgresql-common that starts at boot. Files that stand there stay as they are.
# $1 owner  $2 configuration directory
set -eu
owner=$1 directory=$2
make() { # directory
    if [ -d "$1" ]; then return; fi
    make "$(dirname "$1")"
    mkdir -m 0755 "$1"
    if [ "$(id -u)" = 0 ]; then chown "$owner": "$1"; fi
}
file() { # name, mode, text
    if [ -e "$directory/$1" ]; then return; fi
    printf '%s' "$3" >"$directory/$1"
    chmod "$2" "$directory/$1"
    if [ "$(id -u)" = 0 ]; then chown "$owner": "$directory/$1"; fi
}
make "$directory"
file environment 0644 ''
file pg_ctl.conf 0644 "pg_ctl_options = ''
"
file pg_ident.conf 0640 ''
file start.conf 0644 'auto
'
if ! grep -q '^[[:space:]]*auto' "$directory/start.conf"; then
    sed -i 's/^[[:space:]]*\(manual\|disabled\).*/auto/' "$directory/start.conf"
fi
