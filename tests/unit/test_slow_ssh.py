"""A host that takes the panel's connection and its time: says nothing, one byte and again one, lines without end, half a handshake.

Each ends as a host that does not answer, within the time that it was given; no thread and no memory stays behind.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import paramiko
import pytest

from remote import conversation
from remote.command import Command, Secret
from remote.errors import HostError
from remote.facts import FactsRequest, Unreachable
from remote.host import Access, Host
from remote.hostkeys import HostKey

PATIENCE_SECONDS = 1.0
"""What the panel is told to wait; `LONG_SECONDS` is only what a test gives up after."""
LONG_SECONDS = 30.0
SERVER_KEY = paramiko.RSAKey.generate(2048)
Manner = Callable[[socket.socket, threading.Event], None]


def silent(_one: socket.socket, over: threading.Event) -> None:
    over.wait(LONG_SECONDS)


def byte_by_byte(one: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.1):
        one.sendall(b"S")


def lines_without_end(one: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.02):
        one.sendall(b"welcome, wait\r\n")


def one_endless_line(one: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        one.sendall(b"x" * 65536)


def greeting_and_silence(one: socket.socket, over: threading.Event) -> None:
    one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    over.wait(LONG_SECONDS)


def a_packet_that_does_not_come(one: socket.socket, over: threading.Event) -> None:
    """It is said to be 30,000 bytes long, and comes byte by byte."""
    one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + (30_000).to_bytes(4, "big"))
    while not over.wait(0.1):
        one.sendall(b"\x14")


def a_packet_of_a_gigabyte(one: socket.socket, over: threading.Event) -> None:
    one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + (1 << 30).to_bytes(4, "big"))
    while not over.is_set():
        one.sendall(b"\x14" * 65536)


MANNERS: tuple[Manner, ...] = (
    silent, byte_by_byte, lines_without_end, one_endless_line, greeting_and_silence, a_packet_that_does_not_come,
    a_packet_of_a_gigabyte,
)  # fmt: skip


@contextlib.contextmanager
def hostile(manner: Manner) -> Iterator[int]:
    """The port of a server that serves everybody in its manner."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        listening.settimeout(0.1)
        served: list[threading.Thread] = []

        def serve(one: socket.socket) -> None:
            with one, contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                manner(one, over)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    served.append(threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True))
                    served[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            accepting.join()
            for thread in served:
                thread.join(LONG_SECONDS)


def host_at(port: int) -> Host:
    key = HostKey.of_blob(SERVER_KEY.get_name(), SERVER_KEY.asbytes()).line
    access = Access("127.0.0.1", port, "root", password=Secret("password", "not for everybody"), host_key=key)
    return Host(access, "pg1", connect_timeout_seconds=PATIENCE_SECONDS)


def within(call: Callable[[], object]) -> object:
    """What it returns or raises; a test that would hang fails instead."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(call())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LONG_SECONDS)
    assert ended, "it still waits"
    return ended[0]


def transports() -> list[paramiko.Transport]:
    return [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]


def all_ended() -> bool:
    deadline = time.monotonic() + LONG_SECONDS
    while transports() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not transports()


@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
def test_a_host_that_takes_its_time_does_not_answer_and_leaves_nothing_behind(manner: Manner) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(manner) as port:
        found = within(lambda: host_at(port).facts(FactsRequest()))
        assert isinstance(found, Unreachable)
        assert "pg1" in found.message
        assert found.mend
        assert "not for everybody" not in found.message + found.mend
        assert all_ended()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kB


class Frozen(paramiko.ServerInterface):
    """Lets everybody in. does: what a session gets when it asks for a command."""

    def __init__(self, does: Callable[[paramiko.Channel], bool]) -> None:
        self._does = does

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._does(channel)


def frozen(does: Callable[[paramiko.Channel], bool]) -> Manner:
    def serve(one: socket.socket, over: threading.Event) -> None:
        transport = paramiko.Transport(one)
        transport.add_server_key(SERVER_KEY)
        transport.start_server(server=Frozen(does))
        over.wait(LONG_SECONDS)
        transport.close()

    return serve


def no_answer(_channel: paramiko.Channel) -> bool:
    time.sleep(5 * PATIENCE_SECONDS)
    return False


def drips(channel: paramiko.Channel) -> bool:
    def drip() -> None:
        with contextlib.suppress(OSError):
            while True:
                channel.sendall(b".")
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    return True


@pytest.mark.parametrize("does", [no_answer, drips, lambda channel: True], ids=["no answer", "drips", "silent"])
def test_a_host_that_lets_one_in_and_then_takes_its_time_is_given_up_too(
    does: Callable[[paramiko.Channel], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "START_SECONDS", PATIENCE_SECONDS)
    command = Command(("true",), mutates=False, timeout_seconds=PATIENCE_SECONDS)
    with hostile(frozen(does)) as port, host_at(port) as host:
        assert isinstance(within(lambda: host.run(command)), HostError)


def test_while_many_such_hosts_are_asked_another_one_is_answered() -> None:
    """Each look has a thread of its own: whoever hangs holds up nobody else."""

    def refuses(channel: paramiko.Channel) -> bool:
        return False

    with hostile(byte_by_byte) as slow, hostile(frozen(refuses)) as good:
        looks: list[object] = []
        threads = [
            threading.Thread(target=lambda: looks.append(host_at(slow).facts(FactsRequest())), daemon=True) for _host in range(20)
        ]
        for thread in threads:
            thread.start()
        host = host_at(good)
        assert within(host.connect) is None
        host.close()
        for thread in threads:
            thread.join(LONG_SECONDS)
        assert [type(found) for found in looks] == [Unreachable] * 20
        assert all_ended()
