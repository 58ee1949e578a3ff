# The host's whole boot: the visitor's key for root and postgres, sshd, and the clusters marked auto.
set -eu
[ -n "${AUTHORIZED_KEY:-}" ] || { echo "Set LAB_AUTHORIZED_KEY to the public key that may log in." >&2; exit 1; }
for home in /root /var/lib/postgresql; do
    mkdir -p -m 700 "$home/.ssh"
    printf '%s\n' "$AUTHORIZED_KEY" >"$home/.ssh/authorized_keys"
done
chown -R postgres:postgres /var/lib/postgresql/.ssh
mkdir -p /run/sshd
pg_lsclusters -h | while read -r version cluster _rest; do pg_ctlcluster "$version" "$cluster" start; done
exec /usr/sbin/sshd -D -e
