# Log in twice with the same conninfo: the first password must open it, the second must not any more.
# $1 bin directory  $2 conninfo without a password  $3 what is asked; stdin: two lines for a password file, the new one and the old one
set -u
umask 077
bin=$1 conninfo=$2 sql=$3
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM
IFS= read -r new && IFS= read -r old || exit 1
printf '%s\n' "$new" >"$directory/new"
printf '%s\n' "$old" >"$directory/old"
unset new old
opens() { PGPASSFILE=$directory/$1 PGCONNECT_TIMEOUT=10 PGAPPNAME=pgpanel "$bin/psql" -X -A -t -q -w -d "$conninfo" -c "$sql" 2>&1; }
said=$(opens new) || { printf 'the new password does not open it: %s\n' "$said" >&2; exit 1; }
if said=$(opens old); then echo 'the old password still opens it: no password is asked for, or the role has another rule' >&2; exit 1; fi
echo 'the new password opens it, the old one does not'
