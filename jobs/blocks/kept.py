"""Directories that a rebuild has put aside: what is known of them, how long they are kept, how one looks into them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from jobs.blocks.scene import on_host, own_file, script_text
from jobs.recipe import NodeSpec, World
from remote.command import Command, WriteFile
from remote.facts import Facts
from remote.lsn import Switch, parse_or_zero
from remote.versions import Version

LOOK = "rebuild"
"""The name of the question that a rebuild, and whoever deals with what it kept, asks of each host."""
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Kept:
    """One directory that was put aside. Times are epoch seconds by its host's clock."""

    directory: str
    job: str
    kept_at: int
    until: int
    size_bytes: int
    timeline: int


@dataclass(frozen=True)
class Ground:
    """What the question found: WAL files that lie there, where the newest history leaves each timeline, directories kept, and those
    of copies that were begun and are not in place."""

    wal: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    kept: tuple[Kept, ...] = ()
    begun: tuple[str, ...] = ()


def question(spec: NodeSpec) -> tuple[str, Command]:
    command = on_host("rebuild_look.sh", spec.data_directory, spec.wal_archive_directory, user=spec.owner, mutates=False)
    return LOOK, command


def ground_of(world: World, spec: NodeSpec) -> Ground:
    facts = world.nodes.get(spec.name)
    answer = facts.answers.get(LOOK) if isinstance(facts, Facts) else None
    return parse(answer.text) if answer and answer.is_right else Ground()


def parse(text: str) -> Ground:
    wal, switches, kept, begun = [], [], [], []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "wal":
            wal.append(rest)
        elif word == "left":
            timeline, _, position = rest.partition(" ")
            switches.append(Switch(int(timeline), parse_or_zero(position)))
        elif word == "old":
            kept.append(_kept(rest))
        elif word == "new":
            begun.append(rest)
    return Ground(tuple(wal), tuple(switches), tuple(sorted(kept, key=lambda one: one.kept_at)), tuple(begun))


def _kept(line: str) -> Kept:
    directory, *rest = line.split("|")
    said = dict(pair.split("=", 1) for pair in rest if "=" in pair)

    def number(name: str) -> int:
        value = said.get(name, "")
        return int(value) if value.isdigit() else 0

    return Kept(directory, said.get("job", ""), number("kept_at"), number("until"), number("bytes"), number("timeline"))


def is_expired(kept: Kept, world: World, spec: NodeSpec) -> bool:
    return kept.until <= world.facts(spec.name).epoch_seconds


def days_left(kept: Kept, world: World, spec: NodeSpec) -> int:
    return max(0, round((kept.until - world.facts(spec.name).epoch_seconds) / DAY_SECONDS))


def reader_file(version: Version, spec: NodeSpec, directory: str, job: str) -> WriteFile:
    """A script of this node that opens one kept directory read-only, or lists the rows that never left it."""
    is_apart = spec.config_directory != spec.data_directory
    values = {
        "old": directory, "data": spec.data_directory, "bin": spec.bin_directory,
        "conf": f"{spec.config_directory if is_apart else directory}/postgresql.conf",
        "style": {"signal": "standby.signal", "recovery.conf": "recovery.conf"}[version.recovery_style],
        "wal": version.wal_directory_name, "dump": version.tools.wal_dump,
        "socket": version.name_of("unix_socket_directories"), "options": _reading(version),
    }  # fmt: skip
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return WriteFile(own_file(spec, f"read-{job}"), f"#!/bin/sh\n{head}{script_text('read_old.sh')}", spec.owner, "0700")


def _reading(version: Version) -> str:
    """What must be taken back of the configuration where its version knows it: it follows nobody, and fetches nothing."""
    names = ("primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command", "promote_trigger_file")
    words = [f"-c {name}=''" for name in names if version.has_setting(name)]
    if version.has_setting("recovery_target_timeline"):
        words.append("-c recovery_target_timeline=current")
    return " ".join((*words, "-c synchronous_standby_names=''"))


def reading_line(spec: NodeSpec, job: str, word: str) -> str:
    """The line that a person pastes on the host."""
    run = f"{shlex.quote(own_file(spec, f'read-{job}'))} {word}"
    return f"su {shlex.quote(spec.owner)} -s /bin/sh -c {shlex.quote(run)}"


def kept_paths(spec: NodeSpec, job: str) -> tuple[str, ...]:
    """What a rebuild's steps ask about besides the usual."""
    own = (f"read-{job}", "rebuild", "pgpass-rewind")
    return (f"{spec.data_directory}.old-{job}/pgpanel.old", *(own_file(spec, name) for name in own))
