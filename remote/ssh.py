"""SSH itself: a connection with a pinned host key, and one command over one channel. The only importer of fabric and paramiko.

fabric's defaults trust unknown hosts and read the environment, an agent, key files and `~/.ssh/config`. Nothing of that here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn

import paramiko
from fabric.config import Config
from fabric.connection import Connection
from paramiko.ssh_exception import ChannelException, IncompatiblePeer, NoValidConnectionsError

from remote.access import Access
from remote.errors import AuthenticationRefused, HostError, HostKeyChanged, HostKeyUnknown, HostUnreachable
from remote.hostkeys import HostKey

Voice = Literal["output", "error"]
KEEPALIVE_SECONDS = 5
SILENCE_SECONDS = 15
"""A connection on which the other side acknowledges nothing for this long is given up by the kernel."""
LINGER_SECONDS = 0.5
CHATTER_SECONDS = 30
"""After a command has ended, something that it started may hold its output open: it is heard until it is silent for the one, or
for the other at most."""

# paramiko logs tracebacks of its own for what is raised as an error here anyway
LOG_CHANNEL = "pgpanel.ssh"
logging.getLogger(LOG_CHANNEL).setLevel(logging.CRITICAL)


class ChannelRefused(Exception):
    """The connection has no room for one more channel (MaxSessions), or is gone: nothing was sent yet."""

    def __init__(self, said: str, is_gone: bool) -> None:
        super().__init__(said)
        self.is_gone = is_gone


class TimedOut(Exception):
    """The deadline of a `Talk` has passed."""


class Unaccepted(paramiko.MissingHostKeyPolicy):
    """Called when no key is pinned for the host: there is no trust at first sight."""

    def __init__(self, access: Access, name: str) -> None:
        self.access, self.name = access, name

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:  # noqa: ARG002
        raise HostKeyUnknown(self.name, self.access.place, HostKey.of_blob(key.get_name(), key.asbytes()))


class Session:
    """One open, authenticated SSH connection; HostError in plain words when there can be none."""

    def __init__(self, access: Access, name: str, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._gateway = Session(access.jump, f"{name}'s jump host", timeout_seconds) if access.jump else None
        self._fabric: Any = None
        try:
            self._fabric = self._prepared(access, name)
            self._fabric.open()
        except Exception as error:
            self.close()
            raise in_plain_words(error, access, name, timeout_seconds) from error
        self._keep_alive()

    def _prepared(self, access: Access, name: str) -> Any:
        """A fabric connection that asks nobody but `access`."""
        seconds = self._timeout_seconds
        connection: Any = Connection(  # type: ignore[no-untyped-call]
            access.host,
            user=access.user,
            port=access.port,
            gateway=self._gateway and self._gateway._fabric,
            config=Config(lazy=True),  # type: ignore[no-untyped-call]
            connect_kwargs={
                "allow_agent": False,
                "look_for_keys": False,
                "pkey": private_key(access, name),
                "password": access.password.value if access.password else None,
                "timeout": seconds,
                "banner_timeout": seconds,
                "auth_timeout": seconds,
                "channel_timeout": seconds,
            },
        )
        client: paramiko.SSHClient = connection.client
        client.set_missing_host_key_policy(Unaccepted(access, name))
        client.set_log_channel(LOG_CHANNEL)
        if access.host_key:
            pin(client, access, name)
        return connection

    def _keep_alive(self) -> None:
        """A host that is cut off is noticed after `SILENCE_SECONDS`, whatever the command's own timeout is."""
        self._fabric.transport.set_keepalive(KEEPALIVE_SECONDS)
        if self._gateway is None:
            self._fabric.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)
            self._fabric.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_open(self) -> bool:
        return bool(self._fabric.is_connected)

    def talk(self, line: str) -> Talk:
        return Talk(self._fabric.transport, line, self._timeout_seconds)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._fabric.client.close()
        if self._gateway is not None:
            self._gateway.close()


def pin(client: paramiko.SSHClient, access: Access, name: str) -> None:
    """With a key in the client's own list, paramiko negotiates that key's type first, and compares before it authenticates."""
    place = access.host if access.port == 22 else f"[{access.host}]:{access.port}"
    try:
        pinned = HostKey.parse(access.host_key)
        key = paramiko.PKey.from_type_string(pinned.kind, pinned.blob)
    except (ValueError, paramiko.SSHException) as error:
        message = f"{name}: the accepted host key cannot be read"
        raise HostUnreachable(message, name, "Accept the host's key again", "host-key") from error
    client.get_host_keys().add(place, pinned.kind, key)


def private_key(access: Access, name: str) -> paramiko.PKey | None:
    if access.private_key is None:
        return None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(access.private_key.value))
        except paramiko.PasswordRequiredException:
            raise AuthenticationRefused(
                f"{name}: the private key is protected by a passphrase", name, "Give the panel a key of its own, without one"
            ) from None
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise AuthenticationRefused(f"{name}: the private key cannot be read", name, "Paste it again, in OpenSSH or PEM form")


def in_plain_words(error: Exception, access: Access, name: str, timeout_seconds: float) -> HostError:  # noqa: PLR0911 - a table
    """What paramiko and the kernel say, as an error that names host and mend."""
    who = f"{name} ({access.place})"
    match error:
        case HostError():
            return error
        case paramiko.BadHostKeyException():
            pinned, offered = (HostKey.of_blob(key.get_name(), key.asbytes()) for key in (error.expected_key, error.key))
            return HostKeyChanged(name, access.place, pinned, offered)
        case paramiko.AuthenticationException() if "timeout" in str(error).lower():
            return no_session("timeout", who, name, timeout_seconds)
        case paramiko.AuthenticationException() | paramiko.SSHException(args=("No authentication methods available",)):
            return authentication_refused(access, name)
        case ChannelException():
            return HostUnreachable(
                f"the jump host cannot reach {who}: {error.text}", name,
                f"Check from the jump host: nc -vz {access.host} {access.port}; its sshd must allow AllowTcpForwarding", "no-route",
            )  # fmt: skip
        case socket.gaierror():
            return HostUnreachable(
                f"{name}: the name {access.host} cannot be resolved", name, f"Check it: getent hosts {access.host}", "dns"
            )
        case TimeoutError():
            return no_answer(access, name, timeout_seconds)
        case NoValidConnectionsError():
            return not_connected(next(iter(error.errors.values())), who, name)  # type: ignore[arg-type]
        case ConnectionResetError() | BrokenPipeError():
            return no_session(error.strerror or "", who, name, timeout_seconds)
        case OSError():
            return not_connected(error, who, name)
        case IncompatiblePeer():
            return HostUnreachable(
                f"{who} and the panel have no way of encrypting in common: {error}", name,
                "Its sshd is too old, or restricted to other algorithms: sshd -T | grep -E 'kex|ciphers|macs|hostkeyalgo'", "other",
            )  # fmt: skip
        case EOFError() | paramiko.SSHException():
            return no_session(str(error), who, name, timeout_seconds)
    return HostUnreachable(f"{who} could not be reached: {type(error).__name__}: {error}", name)


def authentication_refused(access: Access, name: str) -> HostError:
    offered = [word for word, secret in (("the key", access.private_key), ("the password", access.password)) if secret]
    mend = (
        f"Check ~{access.user}/.ssh/authorized_keys on {access.host}, and that the account is not locked: passwd -S {access.user}"
    )
    if not access.private_key:
        mend = f"Check the password, and that sshd on {access.host} allows PasswordAuthentication for {access.user}"
    what = " and ".join(offered) or "a login without key or password"
    return AuthenticationRefused(f"{name} ({access.place}) refuses {what} of {access.user}", name, mend)


def no_answer(access: Access, name: str, timeout_seconds: float) -> HostError:
    where = f"nc -vz {access.host} {access.port}"
    return HostUnreachable(
        f"{name} ({access.place}) does not answer within {timeout_seconds:g} s", name,
        f"Is the host up, and does a firewall let the panel through? From the panel's machine: {where}", "timeout",
    )  # fmt: skip


def not_connected(error: OSError, who: str, name: str) -> HostError:
    if isinstance(error, ConnectionRefusedError):
        mend = "Is sshd running there, and on this port? On the host: systemctl status ssh sshd"
        return HostUnreachable(f"{who} refuses connections", name, mend, "refused")
    return HostUnreachable(
        f"{who} cannot be reached: {error.strerror or error}", name, "Check the address and the network in between", "no-route"
    )


def no_session(said: str, who: str, name: str, timeout_seconds: float) -> HostError:
    lower = said.lower()
    if "banner" in lower or "no existing session" in lower or "timeout" in lower:
        return HostUnreachable(
            f"{who} accepts the connection but does not speak SSH within {timeout_seconds:g} s", name,
            "Is it sshd that listens on this port, and is the host overloaded or frozen?", "timeout",
        )  # fmt: skip
    return HostUnreachable(
        f"{who} ended the SSH session while it was being set up: {said or 'without a reason'}", name,
        "Look into sshd's log on the host: journalctl -u ssh -u sshd", "other",
    )  # fmt: skip


class Talk:
    """One command over one channel: `say` queues its input, `hear` yields what it prints until it has ended.

    exit_code: None until it ended; -1 when it was ended without one. is_lost: the connection broke, the outcome is unknown.
    """

    def __init__(self, transport: paramiko.Transport, line: str, timeout_seconds: float) -> None:
        try:
            self._channel: paramiko.Channel = transport.open_session(timeout=timeout_seconds)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ChannelRefused(str(error), is_gone=not isinstance(error, ChannelException)) from error
        self._outbox = bytearray()
        self._is_input_complete = False
        self.exit_code: int | None = None
        self.is_lost = False
        # paramiko waits for the answer to exec without a limit: a frozen host would hold us for ever
        patience = threading.Timer(timeout_seconds, self.close)
        patience.start()
        try:
            self._channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError):
            self.is_lost = patience.finished.is_set() or not transport.is_active()
            self.exit_code = None if self.is_lost else -1
        finally:
            patience.cancel()

    def say(self, data: bytes, is_last: bool = False) -> None:
        self._outbox += data
        self._is_input_complete = self._is_input_complete or is_last

    def send(self) -> None:
        """What was said goes out now; what the window does not take goes with the next `hear` or `moment`."""
        self._push()

    def hear(self, deadline: Callable[[], float]) -> Iterator[tuple[Voice, bytes]]:
        """Chunks as they come, never more than the SSH window ahead of who listens. `deadline` is on the monotonic clock."""
        if self.is_lost or self.exit_code is not None:
            return
        channel = self._channel
        ended_at: float | None = None
        heard_at = 0.0
        while True:
            self._push()
            heard = self._at_hand()
            yield from heard
            now = time.monotonic()
            if now > deadline():
                raise TimedOut
            heard_at = now if heard else heard_at
            if channel.exit_status_ready():
                ended_at = ended_at or now
                is_whole = channel.closed or channel.eof_received or now > max(ended_at, heard_at) + LINGER_SECONDS
                if (is_whole and not self._has_more()) or now > ended_at + CHATTER_SECONDS:
                    break
            self._wait()
        self._finish()

    def moment(self, until: float) -> list[tuple[Voice, bytes]]:
        """What has come since; waits until then (monotonic clock) for something. Nothing came: see `has_ended`."""
        heard_at = time.monotonic()
        while not self.has_ended:
            self._push()
            if heard := self._at_hand():
                return heard
            now, channel = time.monotonic(), self._channel
            if channel.exit_status_ready() and (channel.closed or channel.eof_received or now > heard_at + LINGER_SECONDS):
                self._finish()
            elif now >= until:
                break
            else:
                self._wait(until - now)
        return []

    @property
    def has_ended(self) -> bool:
        return self.is_lost or self.exit_code is not None

    def _at_hand(self) -> list[tuple[Voice, bytes]]:
        heard: list[tuple[Voice, bytes]] = []
        if self._channel.recv_ready():
            heard.append(("output", self._channel.recv(1 << 16)))
        if self._channel.recv_stderr_ready():
            heard.append(("error", self._channel.recv_stderr(1 << 16)))
        return heard

    def _has_more(self) -> bool:
        return self._channel.recv_ready() or self._channel.recv_stderr_ready()

    def _push(self) -> None:
        """Send what the window takes; end the input once all of it is gone."""
        channel = self._channel
        try:
            while self._outbox and channel.send_ready():
                del self._outbox[: channel.send(bytes(self._outbox[: 1 << 15]))]
            if self._is_input_complete and not self._outbox and not channel.eof_sent:
                channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            self._outbox.clear()  # nobody reads any more: the exit code, or its absence, says what that means

    def _wait(self, most_seconds: float = 0.05) -> None:
        """Until something comes, but not long: the end of a connection shows on no descriptor."""
        if self._has_more():
            return
        seconds = min(most_seconds, 0.005 if self._outbox else 0.05)
        if self._channel.eof_received:  # its descriptor stays readable from here on
            self._channel.status_event.wait(seconds)
        else:
            waiting = select.poll()
            waiting.register(self._channel.fileno(), select.POLLIN)
            waiting.poll(max(1, round(seconds * 1000)))

    def _finish(self) -> None:
        status: int = self._channel.exit_status
        if status < 0:  # ended by a signal, or the connection is gone: paramiko closes channels before it says which
            transport = self._channel.get_transport()
            until = time.monotonic() + 0.3
            while transport.is_active() and time.monotonic() < until:
                time.sleep(0.02)
            self.is_lost = not transport.is_active()
        self.exit_code = None if self.is_lost else status

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._channel.close()
