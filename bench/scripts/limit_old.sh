# The old primary's side of a switchover by hand: words come by stdin, answers go by stdout. It is all open and known before.
# $1 data directory  $2 bin directory  $3 port  $4 postgresql.conf  $5 server log
data=$1 bin=$2 port=$3 config=$4 log=$5
cd /
ways=$(mktemp -d)
chmod 711 "$ways"
mkfifo -m 666 "$ways/in" "$ways/out"
as() { runuser -u postgres -- "$@"; }
as "$bin/psql" -X -q -A -t -p "$port" -d postgres <"$ways/in" >"$ways/out" 2>&1 &
exec 3>"$ways/in" 4<"$ways/out"
rm -rf "$ways"
pid=$(head -n 1 "$data/postmaster.pid")
as touch "$data/limit.signal"
echo ready
while read -r word; do
    case $word in
    checkpoint)
        printf 'CHECKPOINT;\n\\echo checkpointed\n' >&3
        read -r answer <&4
        echo "$answer"
        ;;
    stop)
        kill -INT "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.002; done
        said=$(LC_ALL=C "$bin/pg_controldata" "$data")
        mv "$data/limit.signal" "$data/standby.signal"
        state=${said#*cluster state: }
        state=${state%%
*}
        place=${said#*Latest checkpoint location: }
        place=${place%%
*}
        echo "${state##*  }:${place##* }"
        ;;
    start)
        as "$bin/pg_ctl" -s -W -D "$data" -l "$log" -o "-c config_file=$config" start </dev/null >/dev/null 2>&1
        echo started
        exit
        ;;
    esac
done
