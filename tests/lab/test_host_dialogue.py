"""A command that is spoken with, on real hosts: as whom, under which lock, how fast, and what is heard when it is over."""

from __future__ import annotations

import statistics
import time

import pytest
from host_reach import access_to, lab_password, needs_own_machines, wait_until

from lab import Host as LabHost
from lab import Lab
from remote.command import Command, script
from remote.dialogue import Dialogue
from remote.errors import CannotBecome, ConnectionLost, EpochRefused, LockHeld, Silent
from remote.host import Host, Lock

pytestmark = pytest.mark.lab
ECHO = (
    'echo "$(id -un) is here"; while IFS= read -r word; do [ "$word" != bye ] || exit 3; echo "heard $word"; done; echo gone >"$1"'
)


@pytest.fixture(scope="module")
def pg1(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg1", create=False, password_login=True)


@pytest.fixture(scope="module")
def pg2(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg2", create=False)


def echo(user: str = "", place: str = "/tmp/gone", **options: object) -> Command:
    return script(ECHO, place, user=user, **options)


@pytest.mark.parametrize(
    ("login", "user"), [("root", ""), ("root", "postgres"), ("ops", "root"), ("ops", "postgres"), ("postgres", "")]
)
def test_one_speaks_with_a_command_as_the_user_that_it_names(lab: Lab, pg1: LabHost, login: str, user: str) -> None:
    with Host(access_to(lab, pg1, login), "pg1", lock=Lock("talk", 1)) as host, host.open(echo(user)) as talk:
        assert talk.hear() == f"{user or login} is here"
        for word in ("one", "it's two", 'drei "3" $x \\'):
            talk.say(word)
            assert talk.hear(2) == f"heard {word}"


def test_sudo_that_asks_is_answered_and_nothing_said_is_taken_for_the_password(lab: Lab, pg1: LabHost) -> None:
    access = access_to(lab, pg1, "ops", private_key=None, password=lab_password(lab))
    pg1.run("mv /etc/sudoers.d/ops /root/ 2>/dev/null; sed -i.kept s/NOPASSWD:// /etc/sudoers")
    try:
        with Host(access, "pg1", lock=Lock("talk", 1)) as host, host.open(echo("postgres")) as talk:
            assert talk.hear() == "postgres is here"
            talk.say("word")
            assert talk.hear(2) == "heard word"
    finally:
        pg1.run("mv /etc/sudoers.kept /etc/sudoers; mv /root/ops /etc/sudoers.d/ 2>/dev/null", check=False)


def test_one_speaks_through_a_jump_host(lab: Lab, pg1: LabHost, pg2: LabHost) -> None:
    access = access_to(lab, pg2, jump=access_to(lab, pg1))
    with Host(access, "pg2") as host, host.open(echo("postgres")) as talk:
        assert talk.hear() == "postgres is here"
        assert round_trip_ms(talk) < 20


def round_trip_ms(talk: Dialogue, times: int = 100) -> float:
    taken = []
    for number in range(times):
        began = time.monotonic()
        talk.say(f"word {number}")
        assert talk.hear(2) == f"heard word {number}"
        taken.append((time.monotonic() - began) * 1000)
    return statistics.median(taken)


def test_a_word_and_its_answer_take_a_few_milliseconds(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1", lock=Lock("talk", 1)) as host, host.open(echo("postgres")) as talk:
        talk.hear()
        median = round_trip_ms(talk)
        print(f"median round trip {median:.2f} ms")
        assert median < 5


def test_it_holds_the_lock_until_it_ends(lab: Lab, pg1: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote.envelope.LOCK_WAIT_SECONDS", 1)
    with Host(access_to(lab, pg1), "pg1", lock=Lock("held", 2)) as host:
        with host.open(echo("postgres")) as talk:
            talk.hear()
            with pytest.raises(LockHeld):
                host.run(script("true", user="postgres"))
            with pytest.raises(LockHeld):
                host.open(echo("root"))
        host.run(script("true", user="postgres"))


def test_a_worker_that_was_taken_for_dead_opens_nothing(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1", lock=Lock("epochs", 8)) as host:
        host.run(script("true", user="postgres"))
    with Host(access_to(lab, pg1), "pg1", lock=Lock("epochs", 7)) as host, pytest.raises(EpochRefused):
        host.open(echo("postgres"))


def test_silence_and_the_end_are_told_apart(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1") as host, host.open(echo("postgres")) as talk:
        talk.hear()
        began = time.monotonic()
        with pytest.raises(Silent):
            talk.hear(0.2)
        assert time.monotonic() - began < 0.4
        talk.say("bye")
        with pytest.raises(ConnectionLost, match="ended with 3"):
            talk.hear(5)
        with pytest.raises(ConnectionLost):
            talk.say("more")


def test_what_it_complains_of_is_in_the_error(lab: Lab, pg1: LabHost) -> None:
    with (
        Host(access_to(lab, pg1), "pg1") as host,
        host.open(script("echo why >&2; exit 4", user="postgres")) as talk,
        pytest.raises(ConnectionLost, match="ended with 4: why"),
    ):
        talk.hear(5)


def test_an_account_that_cannot_be_become_is_said(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1") as host, pytest.raises(CannotBecome):
        host.open(echo("nobody-here"))


def test_the_command_hears_the_end_of_its_input_when_the_connection_is_closed(lab: Lab, pg1: LabHost) -> None:
    pg1.run("rm -f /tmp/left")
    host = Host(access_to(lab, pg1), "pg1")
    host.open(echo("root", "/tmp/left")).hear()
    host.close()
    wait_until(lambda: pg1.run("cat /tmp/left", check=False).stdout == "gone\n")


def test_a_host_that_dies_is_a_lost_line_for_who_listens(lab: Lab) -> None:
    needs_own_machines(lab)
    pg3 = lab.up("pg3", create=False)
    with Host(access_to(lab, pg3), "pg3") as host, host.open(echo("postgres")) as talk:
        talk.hear()
        pg3.kill()
        talk.say("word")
        with pytest.raises(ConnectionLost):
            talk.hear(30)
