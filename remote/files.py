"""Writing and reading a file on a host, as commands."""

from __future__ import annotations

from remote.command import Command, WriteFile, script, text_value

NEEDS_ROOT = 77
SAME = "same"

# A symbolic link stays one: what it points to is replaced (an administrator who links postgresql.conf elsewhere means it). The
# temporary file lies beside the target, private from birth, under a name that nobody could have prepared; its content is complete
# or it is not used (a connection that breaks looks like the end of the input). Then owner, mode, SELinux context, rename, fsync.
WRITE = """\
set -eu
umask 077
path=$1 mode=$2 owner=$3 bytes=$4
target=$(readlink -f -- "$path") || { echo "$path: its directory does not exist" >&2; exit 1; }
[ ! -d "$target" ] || { echo "$path is a directory" >&2; exit 1; }
directory=${target%/*}
[ -n "$directory" ] || directory=/
[ -d "$directory" ] || { echo "$directory does not exist" >&2; exit 1; }
[ -w "$directory" ] && [ -x "$directory" ] || { echo "$directory cannot be written" >&2; exit 77; }
new=$(mktemp -- "$directory/.pgpanel.XXXXXXXXXX")
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat >"$new" 2>/dev/null || { echo "$directory: no room for $bytes bytes" >&2; exit 1; }
[ "$(wc -c <"$new")" -eq "$bytes" ] || { echo "the content did not arrive whole" >&2; exit 1; }
chown -- "$owner" "$new" 2>/dev/null || { echo "cannot give it to $owner" >&2; exit 77; }
chmod -- "$mode" "$new"
if cmp -s -- "$target" "$new"; then
    both=$(stat -c '%U:%G %a' -- "$target" "$new")
    case $both in "${both#*"
"}
${both#*"
"}") echo same; exit ;; esac
fi
sync -- "$new" || { echo "$directory: $bytes bytes could not be put on the disk" >&2; exit 1; }
if command -v chcon >/dev/null && [ -e "$target" ]; then chcon --reference="$target" -- "$new" 2>/dev/null || :; fi
existed=$([ ! -e "$target" ] || echo yes)
mv -f -- "$new" "$target"
if [ -z "$existed" ] && command -v restorecon >/dev/null; then restorecon -- "$target" 2>/dev/null || :; fi
sync -- "$directory" 2>/dev/null || :
"""


def write(action: WriteFile, user: str, group: str) -> Command:
    """As the file's owner where that can write there, so that root never works in a directory that another account controls."""
    content = text_value(action.text).encode()
    return script(
        WRITE,
        action.path,
        action.mode,
        action.owner if group else action.owner.partition(":")[0],
        str(len(content)),
        user=user,
        stdin=action.text,
        timeout_seconds=60.0 + len(content) / 1e6,
    )


def read(path: str, user: str, limit_bytes: int) -> Command:
    """One byte more than the limit, so that the reader sees when it is passed."""
    return script('exec head -c "$1" <"$2"', str(limit_bytes + 1), path, user=user, mutates=False)
