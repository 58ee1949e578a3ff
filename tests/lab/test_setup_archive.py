"""The archive between the nodes: what it does when a node is away, and what it refuses."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kinds_walk import Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab

WALS = "/var/lib/postgresql/15/wals"
PUSH = f"{WALS}/.pgpanel/push"


def finish_wal_file(host: Host) -> str:
    host.sql("SELECT txid_current()")
    return host.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]


def archived(host: Host) -> tuple[str, int]:
    name, failed = host.sql("SELECT last_archived_wal, failed_count FROM pg_stat_archiver")[0]
    return name, int(failed)


def wait_archived(host: Host, name: str) -> None:
    deadline = time.monotonic() + 30
    while archived(host)[0] < name:
        assert time.monotonic() < deadline, (archived(host), name)
        time.sleep(0.1)


def test_a_node_that_is_away_holds_up_nothing_and_gets_its_files_when_it_is_back(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2"], "archive_hold_megabytes": 40}, ["pg1", "pg2"])
    pg1.run(["sed", "-i", "s/^retry_seconds=.*/retry_seconds=1/", f"{WALS}/.pgpanel/settings"])
    pg2.kill()
    names = [finish_wal_file(pg1) for _ in range(4)]
    wait_archived(pg1, names[-1])
    assert archived(pg1)[1] == 0
    spool = pg1.run(["ls", f"{WALS}/.pgpanel/spool/pg2"]).stdout.split()
    missed = pg1.run(["cat", f"{WALS}/.pgpanel/missed-pg2"]).stdout.split()
    assert (spool, missed) == (names[:2], names[2:])
    pg2.start()
    pg2.wait_postgres()
    time.sleep(1)
    names.append(finish_wal_file(pg1))
    wait_archived(pg1, names[-1])
    assert pg1.run(["ls", f"{WALS}/.pgpanel/spool/pg2"]).stdout == ""
    received = pg2.run(["cat", f"{WALS}/.pgpanel/received"]).stdout.split()
    assert received[:2] == [names[-1], str(16 * 1024 * 1024)]


def test_what_does_not_belong_into_the_archive_is_refused(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    name = finish_wal_file(pg1)
    wait_archived(pg1, name)
    real = f"/var/lib/postgresql/15/main/pg_wal/{name}"

    def push(path: str, as_name: str) -> tuple[int, str]:
        done = pg1.run([PUSH, path, as_name], user="postgres", check=False)
        return done.returncode, done.stderr

    stored = pg2.run(["sha256sum", f"{WALS}/{name}"]).stdout
    assert push(real, name)[0] == 0  # the same again is no error
    pg1.run(
        f"head -c 16777216 /dev/zero >/tmp/zeros; cp {real} /tmp/other; printf X | dd of=/tmp/other bs=1 seek=9000000 conv=notrunc",
        user="postgres",
    )
    code, said = push("/tmp/other", name)
    assert (code, "another file of this name is here" in said) == (1, True)
    code, said = push("/tmp/zeros", "000000010000000000000099")
    assert (code, "of another database system" in said) == (1, True)
    code, said = push(real, "../../evil")
    assert (code, "not the name of a WAL file" in said) == (1, True)
    pg2.run(
        ["tee", "/var/lib/postgresql/15/main/pg_wal/00000002.history"],
        user="postgres",
        input="1\t0/2000000\tno recovery target specified\n",
    )
    code, said = push("/tmp/other", f"00000001{name[8:16]}000000FE")
    assert (code, "beyond the point where this timeline was left" in said) == (1, True)
    assert pg2.run(["sha256sum", f"{WALS}/{name}"]).stdout == stored
    # the key can do nothing else
    ssh = [
        "ssh",
        "-F",
        "/dev/null",
        "-i",
        "key",
        "-o",
        "UserKnownHostsFile=known_hosts",
        "-o",
        "BatchMode=yes",
        f"postgres@{pg2.ip}",
        "id",
    ]
    done = pg1.run(f"cd {WALS}/.pgpanel && {' '.join(ssh)}", user="postgres", check=False)
    assert (done.returncode, "not the name of a WAL file" in done.stderr) == (3, True)


def test_a_node_that_somebody_promoted_neither_poisons_the_others_archives_nor_holds_up_the_primarys(new_lab: Any) -> None:
    lab: Lab = new_lab()
    names = ["pg1", "pg2", "pg3"]
    pg1, pg2, pg3 = lab.up("pg1"), lab.up("pg2", create=False), lab.up("pg3", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2, "pg3": pg3})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2", "pg3"]}, names)
    pg3.run(["/usr/lib/postgresql/15/bin/pg_ctl", "-D", "/var/lib/postgresql/15/main", "promote"], user="postgres")
    wait_archived(pg3, finish_wal_file(pg3))
    assert archived(pg3)[1] == 0  # it is not held up itself
    finished = [finish_wal_file(pg1) for _ in range(3)]
    wait_archived(pg1, finished[-1])
    for host in (pg1, pg2):
        assert not [name for name in host.run(["ls", WALS]).stdout.split() if name.startswith("00000002")]
    assert finished[-1] in pg2.run(["ls", WALS]).stdout
    assert pg2.sql("SELECT status, received_tli FROM pg_stat_wal_receiver") == [["streaming", "1"]]
    room.run("fence", {"node": "pg3", "attested": "pg3"}, ["pg3"], job="job-2")
    room.run("rebuild", {"node": "pg3"}, names, job="job-3")  # its proof: the archive of pg3 receives again
    assert not [name for name in pg3.run(["ls", f"{WALS}/.pgpanel"]).stdout.split() if name == "spool"]
