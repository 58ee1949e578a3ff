"""What the tests of clusters share: people of each role, a cluster of two nodes, and hosts that answer without being there."""

from dataclasses import replace

from accounts.models import User
from clusters import credentials, services
from clusters.looks import Look
from clusters.models import Cluster, Grant, Node
from remote.facts import Facts, Installation, Mount, Postgres, Setting, Unreachable, WalSender
from remote.hostkeys import HostKey

HOST_KEYS = {
    address: HostKey.of_blob("ssh-ed25519", b"\0\0\0\x0bssh-ed25519" + address.encode()) for address in ("10.0.0.1", "10.0.0.2")
}


def person(name: str, role: str = "", cluster: Cluster | None = None, **fields) -> User:
    user = User.objects.create(username=name, **fields)  # tests log in by force: hashing a password takes long
    if role:
        Grant.objects.create(user=user, cluster=cluster, role=role)
    return user


def cluster_of_two(name: str = "registry") -> tuple[Cluster, Node, Node]:
    cluster = services.cluster_create(name)
    key = credentials.key_make("login", cluster)
    nodes = [
        services.node_create(cluster, key, f"pg{number}", f"10.0.0.{number}", postgres_major="15", node_address=f"10.1.0.{number}")
        for number in (1, 2)
    ]
    return cluster, nodes[0], nodes[1]


def postgres(**fields) -> Postgres:
    data = "/var/lib/postgresql/15/main"
    return Postgres(
        **{
            "data_directory": data, "owner": "postgres", "major": "15", "version": "15.18",
            "bin_directory": "/usr/lib/postgresql/15/bin",
            "config_file": "/etc/postgresql/15/main/postgresql.conf", "port": 5432, "is_running": True, "answers_sql": True,
            "role": "primary", "timeline": 1, "size_bytes": 50 << 20, "debian_cluster": "15/main",
            "settings": {"listen_addresses": Setting("*", source="configuration file")},
        } | fields
    )  # fmt: skip


def facts_of(hostname: str, *clusters: Postgres, **fields) -> Facts:
    return Facts(
        **{
            "hostname": hostname, "machine_id": hostname * 4, "os_id": "debian", "os_version": "12", "cpu_count": 2,
            "addresses": (), "memory_bytes": 1 << 30, "clusters": clusters,
            "installations": (Installation("/usr/lib/postgresql/15/bin", "15", "15.18"),),
            "mounts": (Mount("/", "/dev/vda", "ext4", 100 << 30, 60 << 30),),
        } | fields
    )  # fmt: skip


class Hosts:
    """Stands for `clusters.looks.look_at`: shows host keys first, then the facts that the test put there, by SSH address."""

    def __init__(self) -> None:
        self.facts: dict[str, Facts | Unreachable] = {}
        self.passwords_seen: list[str] = []

    def __call__(self, target) -> Look:
        access = target.access
        if not access.host_key:
            return Look(offered=HOST_KEYS[access.host])
        if access.host_key != HOST_KEYS[access.host].line:
            return Look(facts=Unreachable("host-key", f"{access.host} shows another host key than the accepted one"))
        if access.password:
            self.passwords_seen.append(access.password.value)
        return Look(facts=self.facts[access.host], has_installed_key=target.install is not None)


def pair() -> Hosts:
    """A running primary and a bare host."""
    hosts = Hosts()
    hosts.facts = {"10.0.0.1": facts_of("h1", postgres()), "10.0.0.2": facts_of("h2")}
    return hosts


def streaming(address: str = "10.0.0.2") -> Facts:
    return facts_of("h1", postgres(senders=(WalSender("pg2", address, "streaming", "async"),)))


def standby() -> Facts:
    return facts_of("h2", replace(postgres(), role="standby"))
