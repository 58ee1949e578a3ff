"""The one statement of a look, on servers of every major that the lab can boot, as the plain monitoring role and over psql."""

from __future__ import annotations

import select
import time

import pytest
from host_reach import access_to
from monitor_streaming import MONITOR_PASSWORD, streaming, write

from lab import Host, Lab
from monitor.probe import Line, Server
from monitor.sight import Sight, Unseen
from monitor.ssh_look import SshLook
from monitor.watch import NodeTarget
from remote.command import Secret

pytestmark = pytest.mark.lab


def look(line: Line) -> Sight | Unseen:
    line.look()
    until = time.monotonic() + 5
    while line.answer is None:
        assert time.monotonic() < until
        wants_write = [line.fileno()] if line.wants == "write" else []
        select.select([line.fileno()], wants_write, [], 1)
        line.on_ready()
    return line.answer


def server(host: Host) -> Server:
    return Server(host.ip, host.pg_port, "pgpanel_monitor", Secret("monitoring password", MONITOR_PASSWORD))


def target(lab: Lab, host: Host) -> NodeTarget:
    return NodeTarget(
        1, host.name, server(host), access_to(lab, host), host.ip, host.data_directory, host.bin_directory, "postgres", ""
    )


@pytest.mark.parametrize("major", ["11", "13", "14", "15", "16", "17", "18"])
def test_a_primary_and_its_standby_are_read_over_a_connection_and_through_ssh(lab: Lab, major: str) -> None:
    primary, standby = streaming(lab, [f"a{major}", f"b{major}"], postgres=major, layout="custom")
    write(primary)
    time.sleep(0.5)
    lines = [Line(server(primary), primary.ip), Line(server(standby), standby.ip)]
    for _ in range(3):
        seen = [look(line) for line in lines]
    through_ssh = [SshLook(target(lab, host)) for host in (primary, standby)]
    for first, second in (seen, [one.look() for one in through_ssh]):
        assert isinstance(first, Sight)
        assert isinstance(second, Sight)
        assert (first.role, first.is_writable, first.major) == ("primary", True, major)
        assert (second.role, second.is_writable, second.major) == ("standby", False, major)
        assert first.timeline == second.timeline == 1
        assert first.system_identifier == second.system_identifier != ""
        assert [(sender.application_name, sender.state, sender.sync_state) for sender in first.senders] == [
            (standby.name, "streaming", "async")
        ]
        assert first.senders[0].flush_lsn == first.current_lsn == second.replay_lsn == second.receive_lsn
        assert second.receiver is not None
        assert (second.receiver.status, second.receiver.follows) == ("streaming", f"{primary.ip}:{primary.pg_port}")
        assert [slot.name for slot in first.slots if slot.is_active] == [f"pgpanel_{standby.name}"]
        assert abs(first.clock_skew_seconds) < 1
    for line in lines:
        line.close()
    for one in through_ssh:
        one.close()
    for host in (primary, standby):
        host.down()
