#!/bin/sh
# /etc/lab/boot in a host: what an init system would do. sshd and PostgreSQL come up side by side, as on a real host.
mkdir -p /run/sshd /run/lock
install -d -o postgres -g postgres -m 2775 /run/postgresql
find /tmp -mindepth 1 -delete
(
    # Debian's clusters that are marked `auto`
    pg_lsclusters -h 2>/dev/null | while read -r version cluster _; do
        if grep -qs '^auto' "/etc/postgresql/$version/$cluster/start.conf"; then
            pg_ctlcluster "$version" "$cluster" start
        fi
    done
    # every other layout
    if [ -x /etc/rc.local ]; then /etc/rc.local; fi
) &
exec /usr/sbin/sshd -D -e
