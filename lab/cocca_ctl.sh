#!/bin/sh
# ctl start|stop|restart|status [stop mode]: CoCCA 8's own PostgreSQL, as root or as postgres
home=/opt/cocca-8/postgresql
mode=${2:-fast}

if [ "$(id -un)" != postgres ]; then exec su postgres -c "$0 $1 $mode"; fi

pg_ctl() { "$home/bin/pg_ctl" -w -D "$home/data" "$@"; }
case $1 in
start) pg_ctl -l "$home/postgresql.log" start ;;
stop) pg_ctl -m "$mode" stop ;;
restart) pg_ctl -l "$home/postgresql.log" -m "$mode" restart ;;
status) pg_ctl status ;;
*) echo "usage: ctl start|stop|restart|status [smart|fast|immediate]" >&2; exit 2 ;;
esac
