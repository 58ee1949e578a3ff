# Start the server, unless it runs or somebody is starting it, and come back as soon as it says that it is ready or its command ends.
# $1 data directory  then: the command
data=$1
shift
runs() {
    pid=$(sed -n 1p "$data/postmaster.pid" 2>/dev/null)
    [ -n "$pid" ] && [ "/proc/$pid/cwd" -ef "$data" ]
}
is_ready() { # line 8 (10 and newer) is the postmaster's own word
    case $(sed -n 8p "$data/postmaster.pid" 2>/dev/null) in ready*) runs ;; *) return 1 ;; esac
}
if runs; then exit 0; fi
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT
"$@" >"$said" 2>&1 </dev/null &
command=$!
while kill -0 "$command" 2>/dev/null; do
    if is_ready; then exit 0; fi
    sleep 0.05
done
wait "$command"
code=$?
tries=0
while [ "$code" -ne 0 ] && [ "$tries" -lt 30 ]; do # refused, because another start was a moment ahead of this one?
    if runs; then exit 0; fi
    tries=$((tries + 1))
    sleep 0.1
done
cat "$said"
exit "$code"
