# The candidate's side: a session that is open already waits on the server, in steps of 2 ms.
# $1 bin directory  $2 port
cd /
ways=$(mktemp -d)
mkfifo "$ways/in" "$ways/out"
"$1/psql" -X -q -A -t -v ON_ERROR_STOP=1 -p "$2" -d postgres <"$ways/in" >"$ways/out" 2>&1 &
exec 3>"$ways/in" 4<"$ways/out"
rm -rf "$ways"
echo ready
while read -r word place; do
    case $word in
    checkpoint) printf 'CHECKPOINT;\n\\echo checkpointed\n' >&3 ;;
    promote)
        cat >&3 <<SQL
DO \$wait\$ BEGIN
WHILE pg_last_wal_replay_lsn() <= '$place' LOOP
    IF clock_timestamp() > now() + interval '10 s' THEN RAISE EXCEPTION 'the last WAL did not arrive'; END IF;
    PERFORM pg_sleep(0.002);
END LOOP; END \$wait\$;
DO \$promote\$ BEGIN PERFORM pg_promote(false); END \$promote\$;
DO \$wait\$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.002); END LOOP; END \$wait\$;
\\echo promoted
SQL
        ;;
    esac
    read -r answer <&4
    echo "$answer"
done
