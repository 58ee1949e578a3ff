# Whether the libraries that the primary's extensions need ($2 …) are on this host. $1 bin directory
set -eu
bin=$1
shift
directory=$("$bin/pg_config" --pkglibdir 2>/dev/null) || directory=${bin%/bin}/lib
missing=
for library in "$@"; do
    case $library in
    '$libdir/'*) path=$directory/${library#\$libdir/} ;;
    /*) path=$library ;;
    *) path=$directory/$library ;;
    esac
    [ -e "$path" ] || [ -e "$path.so" ] || missing="$missing ${library##*/}"
done
[ -z "$missing" ] || { echo "these libraries of the primary's extensions are not installed here:$missing" >&2; exit 1; }
