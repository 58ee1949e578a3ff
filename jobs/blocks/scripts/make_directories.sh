# $1 owner, then directories, innermost last of each: every one that is missing is made for the owner, parents too.
set -eu
owner=$1
shift
make() { # directory, mode
    if [ -d "$1" ]; then return; fi
    make "$(dirname "$1")" 0755
    mkdir -m "$2" "$1"
    if [ "$(id -u)" = 0 ]; then chown "$owner": "$1"; fi
    if command -v restorecon >/dev/null 2>&1; then restorecon "$1"; fi
}
for directory in "$@"; do
    make "$directory" 0700
    [ "$(stat -c %U "$directory")" = "$owner" ] || { echo "$directory does not belong to $owner" >&2; exit 1; }
done
