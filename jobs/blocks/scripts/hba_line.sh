# Let a role of one job in, or shut it out again: one line at the head of pg_hba.conf that ends in "# $3".
# $1 add | remove  $2 pg_hba.conf  $3 word  $4 line  then: the command that makes the server read it anew
set -eu
umask 077
what=$1 file=$2 word=$3 line=$4
shift 4
# whole or not at all: a power cut must not leave half a file. What a link points to is replaced, the link stays.
if [ -L "$file" ]; then file=$(readlink -f -- "$file"); fi
part=$file.pgpanel
cp -p -- "$file" "$part"
{
    if [ "$what" = add ]; then printf '%s  # %s\n' "$line" "$word"; fi
    grep -v "  # $word\$" "$file" || :
} >"$part"
sync "$part" 2>/dev/null || sync
mv -f -- "$part" "$file"
exec "$@"
