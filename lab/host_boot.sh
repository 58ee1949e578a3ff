#!/bin/sh
# /etc/lab/boot in a host: what an init system would do. sshd and PostgreSQL come up side by side, as on a real host.
mkdir -p /run/sshd /run/lock
install -d -o postgres -g postgres -m 2775 /run/postgresql
find /tmp -mindepth 1 -delete

# The ExecStartPre= lines of a unit's drop-ins, as systemd.service(5) has them: as the unit's User=, one that fails keeps the unit from
# starting unless it begins with `-`. What of systemd's quoting differs from a shell's ($$, %%) is translated, its escapes are not.
run_before() { # unit, its template
    user=$(cat "/lib/systemd/system/$2.service" "/etc/systemd/system/$1.service.d/"*.conf 2>/dev/null | sed -n 's/^User=//p' | tail -n 1)
    cat "/etc/systemd/system/$2.service.d/"*.conf "/etc/systemd/system/$1.service.d/"*.conf 2>/dev/null | sed -n 's/^ExecStartPre=//p' |
        sed 's/\$\$/$/g; s/%%/%/g' | while IFS= read -r line; do
            may_fail=
            case $line in -*) may_fail=yes line=${line#-} ;; esac
            eval "set -- $line"
            runuser -u "${user:-root}" -- "$@" </dev/null || [ -n "$may_fail" ] || exit 1
        done
}

(
    # Debian's clusters that are marked `auto`, started as systemd starts postgresql@.service
    pg_lsclusters -h 2>/dev/null | while read -r version cluster _; do
        if grep -qs '^auto' "/etc/postgresql/$version/$cluster/start.conf"; then
            run_before "postgresql@$version-$cluster" postgresql@ && pg_ctlcluster "$version" "$cluster" start
        fi
    done
    # every other layout
    if [ -x /etc/rc.local ]; then /etc/rc.local; fi
) &
exec /usr/sbin/sshd -D -e
