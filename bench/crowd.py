"""Many clusters on the same few servers, and many people: rows of their own, so that the panel takes them for different ones.

    python -m bench.crowd nodes COUNT ROLE HOST:PORT…   clusters on these servers until COUNT nodes are there; password by stdin
    python -m bench.crowd people COUNT                  that many signed-in viewers; prints a session key a line
    python -m bench.crowd year                          a year of one node's history, really written; prints rows and bytes
    python -m bench.crowd fleet                         the fleet page as each part is asked for: questions and milliseconds
    python -m bench.crowd away                          clusters and viewers gone again

In the environment of the panel, in a process of its own: the bench itself drives the panel from outside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import django

django.setup()

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from accounts.models import User  # noqa: E402
from accounts.sessions import BEGUN_AT, SEEN_AT  # noqa: E402
from clusters import services  # noqa: E402
from clusters.models import Cluster, Credential, Grant, Node, NodeState  # noqa: E402
from clusters.secrets import seal  # noqa: E402
from monitor.models import Rollup, Sample  # noqa: E402
from monitor.rollups import LEVELS, RAW, moment  # noqa: E402

PREFIX = "crowd-"


@transaction.atomic
def nodes(wanted: str, role: str, *servers: str) -> None:
    """In bulk: what is measured begins when they are there."""
    password = seal(sys.stdin.readline().rstrip("\n"))
    names = [f"{PREFIX}{number:04}" for number in range(int(wanted) // len(servers))]
    clusters = Cluster.objects.bulk_create([Cluster(name=name) for name in names])
    keys = Credential.objects.bulk_create(
        [Credential(kind="ssh-key", label="none", cluster=cluster, sealed=password) for cluster in clusters]
    )
    Credential.objects.bulk_create([
        Credential(kind="database-role", purpose="monitoring", username=role, label=role, cluster=cluster, sealed=password)
        for cluster in clusters
    ])  # fmt: skip
    made = Node.objects.bulk_create([
        Node(cluster=cluster, credential=key, name=f"h{place + 1}", position=place, ssh_host=host, node_address=host,
             postgres_port=port, postgres_major="15", layout="debian")
        for cluster, key in zip(clusters, keys, strict=True)
        for place, (host, port) in enumerate(_place(server) for server in servers)
    ])  # fmt: skip
    NodeState.objects.bulk_create([NodeState(node=node) for node in made])


def _place(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host, int(port)


@transaction.atomic
def people(wanted: str) -> None:
    now = time.time()
    for number in range(int(wanted)):
        user, _is_new = User.objects.get_or_create(username=f"{PREFIX}{number:04}")
        Grant.objects.get_or_create(user=user, cluster=None, role="viewer")
        session = SessionStore()
        session.update({
            SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: "allauth.account.auth_backends.AuthenticationBackend",
            HASH_SESSION_KEY: user.get_session_auth_hash(), BEGUN_AT: now, SEEN_AT: now,
        })  # fmt: skip
        session.save()
        print(session.session_key)


def fleet() -> None:
    """By Django's test client, so that the questions to the database can be counted."""
    user = User.objects.filter(is_superuser=True).get()
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    for path in ("/", "/monitor/cards/"):
        for _again in range(6):  # the first ones load templates and note the session
            began = time.perf_counter()
            with CaptureQueriesContext(connection) as queries:
                assert client.get(path).status_code == 200
            print(path, len(queries), (time.perf_counter() - began) * 1000)


def year() -> None:
    """The levels of one node, full: what stands there at any moment after a year and for ever after."""
    before = _bytes()
    with transaction.atomic():
        cluster = services.cluster_create(f"{PREFIX}year")
        key = Credential.objects.create(kind="ssh-key", label="none", cluster=cluster, sealed=seal("none"))
        node = services.node_create(cluster, key, "pg1", "192.0.2.1", node_address="192.0.2.1", layout="debian")
        numbers = {"state": "streaming", "primary_lsn": 2**40 + 4711, "replay_bytes": 123_456, "replay_seconds": 0.123}
        now = int(time.time())
        Sample.objects.bulk_create(
            [Sample(node=node, at=moment(now - age + 0.137), write_bytes=4096, flush_bytes=65_536, **numbers)
             for age in range(RAW.kept_seconds)], batch_size=5000,
        )  # fmt: skip
        kept = {level: min(level.kept_seconds, 365 * 86_400) for level in LEVELS}
        for level, seconds in kept.items():
            Rollup.objects.bulk_create(
                [Rollup(node=node, seconds=level.seconds, at=moment(now - age), samples=level.seconds, unknown=0, **numbers)
                 for age in range(0, seconds, level.seconds)], batch_size=5000,
            )  # fmt: skip
    print(Sample.objects.filter(node=node).count() + Rollup.objects.filter(node=node).count(), _bytes() - before)


def _bytes() -> int:
    """Of the pages in use, without those that stand free."""
    with connection.cursor() as cursor:
        found = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")]
    return int((found[0] - found[1]) * found[2])


@transaction.atomic
def away() -> None:
    Node.objects.filter(cluster__name__startswith=PREFIX).delete()
    Cluster.objects.filter(name__startswith=PREFIX).delete()
    User.objects.filter(username__startswith=PREFIX).delete()


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"nodes": nodes, "people": people, "fleet": fleet, "year": year, "away": away}
    commands[sys.argv[1]](*sys.argv[2:])
