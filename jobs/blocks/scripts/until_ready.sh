# Start or restart the server and come back as soon as it says that it is ready, while Debian's command looks on for 2 s more.
# $1 data directory  then: the command
data=$1
shift
server() { sed -n '1p;3p' "$data/postmaster.pid" 2>/dev/null; } # pid and start time
said=$(mktemp) || exit 1
before=$(server)
"$@" >"$said" 2>&1 </dev/null &
command=$!
while kill -0 "$command" 2>/dev/null; do
    # line 8 (10 and newer) is the postmaster's own word; without it the command's end is waited for
    case $(sed -n 8p "$data/postmaster.pid" 2>/dev/null) in
    ready*) if [ "$(server)" != "$before" ]; then rm -f "$said"; exit 0; fi ;;
    esac
    sleep 0.05
done
wait "$command"
code=$?
cat "$said"
rm -f "$said"
exit "$code"
