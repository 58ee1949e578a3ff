# Prove that nothing of this directory's server is left: no postmaster, and no backend of one that was killed (it may still commit).
# $1 data directory  $2 job
set -eu
data=$1 job=$2
if [ "$(cat "$data/pgpanel.job" 2>/dev/null)" = "$job" ]; then exit 0; fi
real=$(cd "$data" && pwd -P)
left() { # every process of a server stands in its data directory
    for cwd in /proc/[0-9]*/cwd; do
        if [ "$(readlink "$cwd" 2>/dev/null)" = "$real" ]; then pid=${cwd#/proc/}; echo "${pid%/cwd}"; fi
    done
}
pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$real" ]; then echo "a server still runs on $data (pid $pid)" >&2; exit 1; fi
for signal in QUIT QUIT KILL; do
    pids=$(left)
    [ -n "$pids" ] || break
    echo "of a postmaster that is gone are left: $(echo $pids)"
    # shellcheck disable=SC2086
    kill -s "$signal" $pids 2>/dev/null || :
    tries=0
    while [ -n "$(left)" ] && [ $tries -lt 20 ]; do tries=$((tries + 1)); sleep 0.1; done
done
[ -z "$(left)" ] || { echo "these processes of $data cannot be ended: $(left | tr '\n' ' ')" >&2; exit 1; }
rm -f "$data/postmaster.pid"
echo 'no postmaster and no backend is left'
