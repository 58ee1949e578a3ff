"""What is sent for a command and how its answer is read, apart from any host."""

import pytest

from remote.access import Access, Lock
from remote.command import Command
from remote.envelope import envelope
from remote.errors import HostKeyChanged, HostUnreachable, brief, unreachable
from remote.exchange import Exchange, TooLong
from remote.hostkeys import HostKey, generate_key

TOKEN = "pgpanel-0123"
BEGIN = f"\n{TOKEN} begin 40 40\n".encode()


TRUE = Command(("true",))


def sealed(command: Command = TRUE, state_owner: str = "postgres", lock: Lock | None = None) -> bytes:
    return envelope(command, TOKEN, login="root", has_password=False, lock=lock, state_owner=state_owner)


@pytest.mark.parametrize("name", ["a b", "$(id)", "-x", "a;b", "a\nb", "~", "a/b"])
def test_the_name_of_an_account_that_a_shell_could_mistake_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an account"):
        sealed(Command(("true",), user=name))
    with pytest.raises(ValueError, match="not the name of an account"):
        sealed(state_owner=name)


@pytest.mark.parametrize("key", ["", "../x", "a b", "a'b", ".hidden"])
def test_the_key_of_a_lock_that_could_lead_elsewhere_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a key for a lock"):
        sealed(lock=Lock(key, 1))


def test_a_command_that_only_reads_takes_no_lock() -> None:
    lock = Lock("cluster", 1)
    assert b"flock" in sealed(lock=lock)
    assert b"flock" not in sealed(Command(("true",), mutates=False), lock=lock)


def test_what_comes_before_the_token_is_noise_in_however_many_pieces_it_comes() -> None:
    whole = b"Welcome!\nno newline" + f"\n{TOKEN}\n".encode() + b"ours\n" + f"\n{TOKEN}\n".encode() + b"ours too"
    for size in (1, 2, 7, 1000):
        exchange = Exchange(TOKEN, None, 1000)
        for start in range(0, len(whole), size):
            exchange.take("output", whole[start : start + size])
        assert bytes(exchange.output.ours) == b"ours\n" + f"\n{TOKEN}\n".encode() + b"ours too"


def test_lines_are_heard_whole_and_the_last_one_without_its_end_too() -> None:
    heard: list[tuple[str, str]] = []
    exchange = Exchange(TOKEN, lambda voice, line: heard.append((voice, line)), 1000)
    for piece in (f"\n{TOKEN}\none\ntw".encode(), b"o\n\xc3", b"\xa9"):
        exchange.take("output", piece)
    assert heard == [], "nothing is heard of a command that cannot be ended yet"
    exchange.take("error", b"noise" + BEGIN + b"oops\n")
    assert heard == [("output", "one"), ("output", "two"), ("error", "oops")]
    exchange.end()
    assert heard[-1] == ("output", "é")


def test_one_byte_over_the_limit_is_too_long() -> None:
    exchange = Exchange(TOKEN, None, 10)
    exchange.take("error", BEGIN + b"x" * 10)
    with pytest.raises(TooLong):
        exchange.take("error", b"x")


@pytest.mark.parametrize(
    ("outer", "begin", "sessions"),
    [
        ("40 40", "", {40}),
        ("40 40", "40 40", {40}),
        ("40 40", "51 51", {40, 51}),
        # a login that is not the leader of its session shares it with the SSH daemon: never to be ended
        ("7 40", "40 7", set()),
        ("7 40", "51 51", {51}),
        ("", "", set()),
    ],
)
def test_only_sessions_that_are_the_commands_own_are_ended(outer: str, begin: str, sessions: set[int]) -> None:
    exchange = Exchange(TOKEN, None, 1000)
    if outer:
        exchange.take("error", f"\n{TOKEN} outer {outer}\n".encode())
    if begin:
        exchange.take("error", f"\n{TOKEN} begin {begin}\n".encode())
    assert exchange.sessions == sessions


def test_the_words_of_sudo_are_told_apart_from_the_envelopes_own() -> None:
    exchange = Exchange(TOKEN, None, 1000)
    exchange.take("error", f"\n{TOKEN} outer 40 40\n{TOKEN}?Sorry, try again.\n{TOKEN}?".encode())
    assert (exchange.prompts, exchange.said_before, exchange.has_begun) == (2, "Sorry, try again.", False)
    exchange.take("error", f"\n{TOKEN} stop epoch 7\n".encode())
    assert exchange.stopped == ("epoch", 7)


def test_a_host_key_is_read_with_or_without_its_comment_and_shown_as_ssh_keygen_does() -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"
    key = HostKey.parse(f"{line} root@pg1\n")
    assert (key.line, key.kind) == (line, "ssh-ed25519")
    assert key.fingerprint.startswith("SHA256:")
    assert not key.fingerprint.endswith("=")


def test_two_keys_made_by_the_panel_differ_and_do_not_show_their_private_half() -> None:
    (private, public), (_other, other_public) = generate_key("pgpanel a"), generate_key("pgpanel b")
    assert public.startswith("ssh-ed25519 AAAA")
    assert public.endswith(" pgpanel a")
    assert public != other_public
    assert "PRIVATE KEY" in private.value
    assert "PRIVATE KEY" not in f"{private!r}{private}"


def test_an_error_as_a_value_keeps_cause_words_and_mend() -> None:
    first, second = (HostKey.parse(generate_key("x")[1]) for _ in range(2))
    changed = unreachable(HostKeyChanged("pg3", Access("10.0.0.3").place, first, second))
    assert (changed.cause, changed.is_reachable) == ("host-key", False)
    assert "pg3 (10.0.0.3:22)" in changed.message
    assert changed.mend
    refused = unreachable(HostUnreachable("pg3 refuses", "pg3", "Start sshd", "refused"))
    assert (refused.cause, refused.message, refused.mend) == ("refused", "pg3 refuses", "Start sshd")


def test_an_address_is_shown_so_that_its_port_can_be_told() -> None:
    assert Access("fd00::3", 2222).place == "[fd00::3]:2222"


def test_a_long_command_is_cut_to_what_fits_a_sentence() -> None:
    assert brief("set -eu\nrm x") == "`set -eu …`"
    assert len(brief("x" * 1000)) < 130
