"""What the facts script printed → `Facts`. Pure, and patient: a truncated or odd answer gives what it holds, and a warning."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from remote import config, lsn, versions
from remote import parse_clusters as clusters
from remote.facts import Account, Facts, Identified, Installation, Mount, PathFact, Reach
from remote.parse_clusters import parse_controldata
from remote.rows import Row, Warnings, number
from remote.visible import brief_line, storable, visible

__all__ = ["parse", "parse_controldata"]

_LAST_SYSTEM_UID = 999
MOST_ROWS = 20_000
"""A look at a host with hundreds of tablespaces and extensions has some thousand."""
MOST_FIELD = 1 << 20
MOST_MOUNTS, MOST_MOUNT_LINE = 500, 1000
_RHEL_FAMILY = frozenset({"rhel", "centos", "rocky", "almalinux", "ol", "fedora", "amzn"})


def parse(output: str, round_trip: tuple[float, float] | None) -> Facts:
    """The facts in one answer. round_trip: panel epoch seconds when it was sent and received, for the clock's skew."""
    lines = list(islice(_lines(output), MOST_ROWS))
    kinds = {key for key, _ in lines}
    warnings = Warnings()
    if "begin" not in kinds:
        warnings.add("The host's answer holds no facts: its login shell may print or run something of its own.")
    elif "end" not in kinds:
        warnings.add("The host's answer is incomplete: what is missing here may exist.")
    host = _Host(lines)
    found = tuple(clusters.cluster(rows, warnings) for rows in clusters.split(lines) if clusters.is_named_well(rows, warnings))
    facts = host.facts()
    return replace(
        facts,
        clock_skew_seconds=_skew(facts.epoch_seconds + facts.elapsed_ms / 2000, round_trip) if facts.epoch_seconds else 0.0,
        clusters=found,
        warnings=tuple(warnings.texts),
    )


def _lines(output: str) -> Iterator[tuple[str, Row]]:
    """`key TAB :text TAB +base64` → (key, fields). Lines of another form (a login banner) are passed over."""
    for line in output.split("\n"):
        key, *words = line.split("\t")
        if words and re.fullmatch(r"[a-z_]{1,40}", key) and all(word[:1] in ":+" for word in words):
            yield key, tuple(storable(_decoded(word)) for word in words)


def _decoded(word: str) -> str:
    if word[:1] == ":" or not word:
        return word[1 : MOST_FIELD + 1]
    body = word[1 : MOST_FIELD + 1]
    try:
        raw = bytes.fromhex(body[2:]) if body.startswith("0x") else base64.b64decode(body[: len(body) // 4 * 4])
    except (ValueError, binascii.Error):
        return ""
    return raw.decode(errors="replace")


def _skew(epoch_seconds: float, round_trip: tuple[float, float] | None) -> float:
    """Host minus panel, the middle of the look against the middle of the round trip."""
    return round(epoch_seconds - sum(round_trip) / 2, 3) if round_trip else 0.0


def _epoch(text: str) -> float | None:
    """`date +%s.%N`; a date that knows no nanoseconds leaves `.%N` or nothing behind the seconds."""
    found = re.match(r"\d{1,12}(\.\d{1,9})?(?!\d)", text, re.ASCII)
    return float(found[0]) if found else None


# --- the host ------------------------------------------------------------------------------------------------------


class _Host:
    def __init__(self, lines: Sequence[tuple[str, Row]]) -> None:
        self.lines = lines

    def all(self, key: str) -> list[Row]:
        return [row for found, row in self.lines if found == key]

    def first(self, key: str, position: int = 0) -> str:
        rows = self.all(key)
        return rows[0][position] if rows and len(rows[0]) > position else ""

    def facts(self) -> Facts:
        system = dict(row[0].partition("=")[::2] for row in self.all("os"))
        os_id = system.get("ID", "").strip("\"'")
        began, ended = _epoch(self.first("begin", 2)), _epoch(self.first("end"))
        return Facts(
            hostname=self.first("hostname"),
            machine_id=self.first("machine_id"),
            boot_id=self.first("boot_id"),
            seen_from=self.first("seen_from"),
            os_id=os_id,
            os_version=system.get("VERSION_ID", "").strip("\"'"),
            kernel=self.first("uname"),
            architecture=self.first("uname", 1),
            cpu_count=number(self.first("cpus")),
            memory_bytes=number(self.first("memory_kb")) * 1024,
            addresses=tuple(item for item in self.first("addresses").split() if not item.startswith(("127.", "::1", "fe80:"))),
            login_user=self.first("login"),
            can_become_root=self.first("login", 1) == "yes",
            can_become_owner=self.first("login", 2) == "yes",
            become_error=self.first("login", 3).strip(),
            epoch_seconds=began or 0.0,
            elapsed_ms=round((ended - began) * 1000) if began and ended else 0,
            selinux=self._selinux(),
            is_systemd=bool(self.all("systemd")),
            systemd_removes_ipc=self._removes_ipc(os_id),
            glibc_version=self.first("libc").removeprefix("glibc").strip(),
            icu_version=self._icu(),
            tools=dict(line.partition("=")[::2] for line in self.first("tools").splitlines()),
            accounts=self._accounts(),
            mounts=_mounts(self.first("mounts")),
            installations=tuple(_installation(row) for row in self.all("installation")),
            paths=self._paths(),
            reach={f"{row[0]}:{row[1]}": _reach(row) for row in self.all("reach") if len(row) >= 4},
            identified={f"{row[0]}:{row[1]}": _identified(row) for row in self.all("identified") if len(row) >= 4},
        )

    def _selinux(self) -> str:
        return {"1": "enforcing", "0": "permissive"}.get(self.first("selinux"), "absent")

    def _removes_ipc(self, os_id: str) -> bool:
        """logind's RemoveIPC: yes unless configured, but the Red Hat family builds it with no."""
        if not self.all("systemd"):
            return False
        said = self.all("remove_ipc")
        if said:
            return said[-1][0].strip().lower() in ("yes", "true", "1", "on")
        return os_id not in _RHEL_FAMILY

    def _icu(self) -> str:
        found = re.findall(r"libicui18n\.so\.(\d{1,4})\b", self.first("icu"), re.ASCII)
        return max(found, key=int) if found else ""

    def _accounts(self) -> dict[str, Account]:
        locked = {row[0]: row[1] == "yes" for row in self.all("locked") if len(row) > 1}
        accounts = {}
        for row in self.all("passwd"):
            parts = row[0].split(":")
            if len(parts) >= 7:
                name, uid = parts[0], number(parts[2])
                accounts[name] = Account(name, uid, parts[5], parts[6], locked.get(name, False), uid <= _LAST_SYSTEM_UID)
        return accounts

    def _paths(self) -> dict[str, PathFact]:
        digests = {row[0]: row[1].split()[0] for row in self.all("digest") if len(row) > 1 and row[1].split()}
        texts = {path: config.without_passwords(text) for row in self.all("path_texts") for path, text in _texts(row)}
        return {row[0]: _path(row, texts.get(row[0]), digests.get(row[0], "")) for row in self.all("path") if len(row) > 1}


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    """A word, the paths, and their texts one after the other, each behind a line with that word."""
    word, *paths, texts = (*row, "")[: max(len(row), 2)]
    return zip(paths, texts.split(f"\n\x1e{word}\x1f\n")[1:], strict=False)


def _path(row: Row, text: str | None, digest: str) -> PathFact:
    if row[1] in ("missing", "denied") or len(row) < 4:
        return PathFact(row[1] if row[1] in ("missing", "denied") else "other")
    described, entries, target = row[1:4]
    what, owner, group, mode, size = ([*described.split(":"), "", "", "", ""])[:5]
    kinds = {"directory": "directory", "symbolic link": "link"}
    kind = "file" if "regular" in what else kinds.get(what, "other")
    return PathFact(
        kind=kind, owner=owner, group=group, mode=mode.zfill(4) if re.fullmatch("[0-7]{1,5}", mode) else "",
        size_bytes=number(size), entries=number(entries),
        text=text, digest=digest, target=target,
    )  # fmt: skip


def _reach(row: Row) -> Reach:
    if row[2] == "0":
        return Reach(is_open=True)
    if row[2] in ("124", "143"):
        return Reach(is_open=False, error="no answer within 2 s")
    words = row[3].strip().splitlines()
    return Reach(is_open=False, error=brief_line(words[-1].rpartition(": ")[2], 300) if words else "not reached")


# libpq's own words for "nobody spoke"; any other failure is something that a server said
_NOBODY = (
    "refused", "timed out", "timeout expired", "no route", "unreachable", "could not translate", "not known", "reset by peer",
    "closed the connection", "no such file",
)  # fmt: skip


def _identified(row: Row) -> Identified:
    """`psql -c IDENTIFY_SYSTEM`: system identifier, timeline, position, database."""
    said = row[3].strip()
    found = re.search(r"^(\d{15,20})\|(\d{1,10})\|([0-9A-F]{1,8}/[0-9A-F]{1,8})", said, re.MULTILINE | re.ASCII)
    if row[2] == "0" and found:
        return Identified(True, found[1], int(found[2]), lsn.parse_or_zero(found[3]))
    if row[2] == "124":
        return Identified(answers=False, error="no answer within 4 s")
    if row[2] in ("126", "127") or not said:
        return Identified(answers=None, error=brief_line(said, 300) or "it could not be asked")
    is_nobody = any(words in said.lower() for words in _NOBODY)
    return Identified(answers=not is_nobody, error=visible(" ".join(said.split())[-300:]))


def _mounts(text: str) -> tuple[Mount, ...]:
    """`df -P -k -T`; without the type where df has no -T."""
    found = []
    # the search takes the square of a line's length, at worst
    for line in [line for line in text.splitlines()[1:MOST_MOUNTS] if len(line) <= MOST_MOUNT_LINE]:
        match = re.fullmatch(r"(\S.*?)(?:\s+([a-z][\w.]*))?\s+(\d+)\s+(\d+)\s+(-?\d+)\s+\S+\s+(/.*)", line, re.ASCII)
        if match:
            size, free = number(match[3]), max(0, number(match[5]))
            found.append(Mount(match[6], match[1], match[2] or "", size * 1024, free * 1024))
    return tuple(found)


def _installation(row: Row) -> Installation:
    directory, said, library, tools, libraries, packages = (*row, "", "", "", "", "", "")[:6]
    found = re.search(r"\d{1,6}(?:\.\d{1,6}){0,3}\S{0,40}", said, re.ASCII)
    version = found[0] if found else ""
    brought = _packages(packages)
    return Installation(
        directory, versions.major_of(version) if version else "", version, library, tuple(tools.split()),
        {name: brought.get(name, "") for name in libraries.split()},
    )  # fmt: skip


def _packages(listed: str) -> dict[str, str]:
    """`/var/lib/dpkg/info/<package>[:<architecture>].list:<path>.so` a line."""
    found = re.findall(r"^/var/lib/dpkg/info/([^/:]+)(?::\w+)?\.list:/.*/([^/]+)\.so$", listed, re.M)
    return {library: package for package, library in found}
