"""What the look at a host says, read; and what a lying or half-broken one does to it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from monitor.forecast import Room
from monitor.host_look import Asked, Space, certificate_until, command, sight_of
from monitor.probe import Server
from monitor.watch import NodeTarget
from remote.access import Access

SAID = """data /dev/vda1 104857600 52428800 52428800 50% /
wal /dev/mapper/vg wal 10485760   9437184   1048576      90% /var/lib/my wal
ready 3
files 5 16777216 4096
block postgresql.conf 3735928559-412
block pg_hba.conf -
history 00000003.history
switch 1\t0/3000000\tno recovery target specified
switch 2\t0/5000060\tno recovery target specified

"""


def certificate(until: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pg1")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(until - timedelta(days=30)).not_valid_after(until)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_all_of_it_is_read() -> None:
    seen = sight_of(SAID, 1000.0)
    assert seen.data == Space("/dev/vda1", 107374182400, 53687091200)
    assert seen.wal is not None
    assert seen.wal.device == "/dev/mapper/vg wal"
    assert seen.wal.free_share == pytest.approx(0.1)
    assert seen.room == Room(1000.0, 1073741824, 5 * 16777216 + 4096, 16777216)
    assert (seen.ready_count, seen.blocks) == (3, {"postgresql.conf": "3735928559-412", "pg_hba.conf": "-"})
    assert (seen.history_of, seen.switches) == (3, ((1, 0x3000000), (2, 0x5000060)))
    assert seen.certificate_until is None


def test_a_certificate_among_it_says_until_when_it_is_valid() -> None:
    until = datetime(2027, 5, 1, 12, tzinfo=UTC)
    assert sight_of(SAID + certificate(until), 1000.0).certificate_until == until.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data\nwal x\nready\nfiles 1\nblock a\nhistory\nswitch nonsense\n",
        "\0\n\n  \n",
        "data a nan inf 1%\nwal b 1e999 - 2 3% /\n",
    ],
)
def test_nonsense_is_left_out(text: str) -> None:
    seen = sight_of(text, 1000.0)
    assert (seen.ready_count, seen.spare_bytes, seen.blocks, seen.switches, seen.history_of) == (0, 0, {}, (), 0)
    assert seen.room is None


def test_a_certificate_that_is_none_is_not_known() -> None:
    assert certificate_until("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") is None
    assert certificate_until("-----BEGIN CERTIFICATE-----\n" + "A" * 50_000 + "\n-----END CERTIFICATE-----\n") is None


def test_the_script_takes_what_it_is_given_as_arguments_only(tmp_path: Path) -> None:
    """Run here, on a made-up data directory with a name that a shell would trip over."""
    data = tmp_path / "it's $(reboot) data"
    (data / "pg_wal" / "archive_status").mkdir(parents=True)
    for name in ("000000020000000000000004", "000000020000000000000005", "000000020000000000000006"):
        (data / "pg_wal" / name).write_bytes(b"\0" * 1024)
    (data / "pg_wal" / "00000002.history").write_text("1\t0/3000000\tno recovery target specified\n")
    (data / "pg_wal" / "archive_status" / "000000020000000000000004.ready").touch()
    (data / "postgresql.conf").write_text("a = 1\n# >>> pgpanel: managed block (x)\nb = 2\n# <<< pgpanel\n")
    (data / "pg_hba.conf").write_text("local all all peer\n")
    (data / "server.crt").write_text(certificate(datetime(2027, 5, 1, tzinfo=UTC)))
    target = NodeTarget(1, "pg1", Server("a", 1), Access(host="a"), "a", str(data), "/bin", "postgres", "15")
    argv = command(target, Asked("server.crt", timeline=2, lsn=4 * 1024 + 24)).argv
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    seen = sight_of(done.stdout, 1000.0)
    assert (seen.ready_count, seen.spare_bytes) == (1, 2 * 1024 + 1000)
    assert seen.blocks["pg_hba.conf"] == "-"
    assert len(seen.blocks["postgresql.conf"]) > 5
    assert seen.data is not None
    assert seen.data.free_bytes > 0
    assert (seen.history_of, seen.switches) == (2, ((1, 0x3000000),))
    assert seen.certificate_until == datetime(2027, 5, 1, tzinfo=UTC).timestamp()
