"""The start guard on a host: how PostgreSQL is made to call it before it starts, where its files lie, and what it has said.

The guard is `jobs/blocks/scripts/guard.sh`; docs/decisions/0008 tells what it promises and where it cannot be hooked.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from remote import config, layouts
from remote.facts import Facts

OWN_FILES = ("guard", "guard.settings", "guard.peers", "guard.hooked", "guard.said", "guard.failed", "guard.off", "guarded")
UNITS = "/etc/systemd/system"
DEBIAN_INIT = "/etc/init.d/postgresql"
SHELLS = ("sh", "bash", "dash", "ksh")


class Started(Protocol):
    """What a node says of its start (`layouts.Paths` and `jobs.recipe.NodeSpec` both do)."""

    @property
    def owner(self) -> str: ...
    @property
    def wal_archive_directory(self) -> str: ...
    @property
    def start_command(self) -> str: ...
    @property
    def restart_command(self) -> str: ...


@dataclass(frozen=True)
class Hook:
    """What calls the guard: a unit's drop-in, a block in a shell script, or both; or why neither can.

    verbs: the script's first argument when it starts the server; none = it always does.
    """

    unit: str = ""
    script: str = ""
    verbs: tuple[str, ...] = ()
    why_not: str = ""
    mend: str = ""

    @property
    def drop_in(self) -> str:
        return f"{UNITS}/{self.unit}.service.d/pgpanel-guard.conf" if self.unit else ""


@dataclass(frozen=True)
class Standing:
    """Which promise holds for a node: is_guarded = it never comes up writable once the others have gone on.

    said: the guard's last word, with its time. failed: what went wrong in it. held_back: when, why and for whom it kept the server
    read-only (`at`, `peer`, `peer_timeline`, `timeline`, `why`).
    """

    is_guarded: bool
    why_not: str = ""
    said: str = ""
    failed: str = ""
    held_back: Mapping[str, str] = field(default_factory=dict)


def own_file(server: Started, name: str) -> str:
    return f"{server.wal_archive_directory}/.pgpanel/{name}"


# -- where it can be hooked ----------------------------------------------------------------------------------------------------


def paths(server: Started) -> tuple[str, ...]:
    """What a look must describe (`FactsRequest.paths`) for `hook_of` and `standing`."""
    hooks = [candidate for candidate in (_unit_hook(server), _init_script(server), _script_hook(server)) if candidate]
    found = [path for hook in hooks for path in (hook.drop_in, hook.script) if path]
    return (*(own_file(server, name) for name in OWN_FILES), *found)


def hook_of(server: Started, facts: Facts) -> Hook:
    """By the node's start command and the host's init system."""
    unit = _unit_hook(server)
    if unit:
        if not facts.can_become_root:
            return Hook(
                why_not=f"{facts.login_user} may not become root to hook it into {unit.unit}", mend="let the panel's login use sudo"
            )
        if facts.is_systemd:
            return unit
        script = _init_script(server)
        if not script:
            return Hook(why_not=f"{unit.unit} is a unit, and systemd does not run here")
        checked = _checked(script, server, facts)
        return checked if checked.why_not else Hook(unit.unit, script.script, script.verbs)
    script = _script_hook(server)
    if script:
        return _checked(script, server, facts)
    return Hook(
        why_not=f"“{server.start_command}” is neither a unit nor a shell script",
        mend="let a systemd unit or a script start PostgreSQL, and name it as the node's start command",
    )


def _words(server: Started) -> tuple[str, ...]:
    try:
        return layouts.words(server.start_command)
    except ValueError:
        return ()


def _unit_hook(server: Started) -> Hook | None:
    words = _words(server)
    program = words[0].rpartition("/")[2] if words else ""
    if program == "pg_ctlcluster" and len(words) > 2:
        return Hook(unit=f"postgresql@{words[1]}-{words[2]}")
    if program == "systemctl" and len(words) > 1:
        return Hook(unit=words[-1].removesuffix(".service"))
    if program in ("service", "rc-service", "invoke-rc.d") and len(words) > 2:
        return Hook(unit=words[1])
    return None


def _init_script(server: Started) -> Hook | None:
    """What starts PostgreSQL at boot where systemd does not run."""
    words = _words(server)
    program = words[0].rpartition("/")[2] if words else ""
    if program == "pg_ctlcluster":
        return Hook(script=DEBIAN_INIT, verbs=("start", "restart"))
    if program in ("service", "rc-service", "invoke-rc.d") and len(words) > 2:
        return Hook(script=f"/etc/init.d/{words[1]}", verbs=("start", "restart"))
    return None


def _script_hook(server: Started) -> Hook | None:
    words = _words(server)
    if not words or not words[0].startswith("/") or words[0].endswith("/pg_ctl") or _unit_hook(server):
        return None
    starts = [words[1:2]]
    restart = layouts.words(server.restart_command) if server.restart_command else ()
    if restart[:1] == words[:1]:
        starts.append(restart[1:2])
    return Hook(script=words[0], verbs=tuple(dict.fromkeys(verb for found in starts for verb in found)))


def _checked(hook: Hook, server: Started, facts: Facts) -> Hook:
    """The hook, or why the script cannot take it."""
    found = facts.paths.get(hook.script)
    kind, text = (found.kind, found.text) if found else ("missing", None)
    if kind != "file":
        return Hook(why_not=f"{hook.script} is {'not there' if kind == 'missing' else f'a {kind}'}")
    first = (text or "").partition("\n")[0]
    if text is None or not first.startswith("#!") or not {word.rpartition("/")[2] for word in first[2:].split()} & set(SHELLS):
        return Hook(why_not=f"{hook.script} is no shell script")
    if config.MASK in text:
        return Hook(why_not=f"{hook.script} holds a password, which pgpanel does not read", mend="keep it in a file of its own")
    if found and found.owner != server.owner and not facts.can_become_root:
        return Hook(why_not=f"{hook.script} belongs to {found.owner}", mend="let the panel's login use sudo")
    return hook


# -- what the hooks say --------------------------------------------------------------------------------------------------------


def drop_in_text(server: Started, facts: Facts) -> str:
    """`-`: whatever becomes of the guard, PostgreSQL starts. Addresses may come late at boot, hence network-online."""
    call = f'if [ "$(id -u)" = 0 ]; then exec {_as_owner(server, facts)}; fi; exec /bin/sh "$0"'
    words = f"-/bin/sh -c {_unit_word(call)} {_unit_word(own_file(server, 'guard'))}"
    return (
        "# pgpanel's start guard: before PostgreSQL starts, the other nodes are asked whether they have gone on without this one.\n"
        "# Without this file (then: systemctl daemon-reload) nobody asks.\n"
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\n\n"
        f"[Service]\nExecStartPre={words}\n"
    )


def _as_owner(server: Started, facts: Facts) -> str:
    """Root never reads a script that another account may write: it becomes the owner first. The script's path is `$0`."""
    if "runuser" in facts.tools:
        return f'{facts.tools["runuser"]} -u {shlex.quote(server.owner)} -- /bin/sh "$0"'
    return f'su -s /bin/sh -c "exec /bin/sh \\"\\$0\\"" {shlex.quote(server.owner)} "$0"'


def _unit_word(word: str) -> str:
    """One word of a unit's command line (systemd.service(5), "Command lines"): specifiers and variables are meant literally."""
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%").replace("$", "$$")
    return f"'{escaped}'"


def block_of(server: Started, facts: Facts, hook: Hook) -> str:
    """For the top of a script that starts PostgreSQL; once per start, though the script may call itself as another account."""
    start, end = _markers(server)
    guard = shlex.quote(own_file(server, "guard"))
    call = f"/bin/sh -c {shlex.quote(f'exec {_as_owner(server, facts)}')} {guard}"
    lines = (
        'if [ -z "${PGPANEL_GUARD-}" ]; then',
        "    PGPANEL_GUARD=asked; export PGPANEL_GUARD",
        f'    if [ "$(id -u)" = 0 ]; then {call}; else /bin/sh {guard}; fi || :',
        "fi",
    )
    if hook.verbs:
        inner = "\n".join(f"    {line}" for line in lines)
        lines = (f"case ${{1-}} in {'|'.join(shlex.quote(verb) for verb in hook.verbs)})", inner, "    ;;", "esac")
    return "\n".join((start, *lines, end)) + "\n"


def _markers(server: Started) -> tuple[str, str]:
    """Named by the node's own directory: one script may start several clusters."""
    own = own_file(server, "guard")
    return (
        f"# >>> pgpanel: start guard {own} (asks the other nodes first; without these lines nobody asks)",
        f"# <<< pgpanel: {own}",
    )


def with_block(text: str, block: str, server: Started) -> str:
    """Behind the script's first line."""
    first, newline, rest = without_block(text, server).partition("\n")
    return f"{first}{newline or chr(10)}{block}{rest}"


def without_block(text: str, server: Started) -> str:
    start, end = _markers(server)
    lines = config.lines_with_ends(text)
    bare = [line.rstrip("\n") for line in lines]
    if start not in bare or end not in bare[bare.index(start) :]:
        return text
    first = bare.index(start)
    return "".join(lines[:first] + lines[bare.index(end, first) + 1 :])


# -- what stands there ---------------------------------------------------------------------------------------------------------


def is_hooked(server: Started, facts: Facts, hook: Hook) -> bool:
    if hook.why_not:
        return False
    drop_in, script = facts.paths.get(hook.drop_in), facts.paths.get(hook.script)
    has_drop_in = not hook.unit or (drop_in is not None and drop_in.text == drop_in_text(server, facts))
    return has_drop_in and (not hook.script or (script is not None and block_of(server, facts, hook) in (script.text or "")))


def standing(server: Started, facts: Facts) -> Standing:
    """From facts that were asked for `paths(server)`."""
    hook = hook_of(server, facts)
    texts = {
        name: found.text or "" for name in OWN_FILES if (found := facts.paths.get(own_file(server, name))) and found.kind == "file"
    }
    why_not = hook.why_not
    if not why_not and "guard.hooked" not in texts:
        why_not = "the start guard is not installed"
    elif not why_not and not is_hooked(server, facts, hook):
        why_not = "what called the start guard was changed"
    elif not why_not and "guard.off" in texts:
        why_not = "it is switched off by the file guard.off"
    held = dict(line.partition("=")[::2] for line in texts.get("guarded", "").splitlines() if "=" in line)
    return Standing(
        is_guarded=not why_not, why_not=why_not, said=texts.get("guard.said", "").strip(),
        failed=texts.get("guard.failed", "").strip(), held_back=held,
    )  # fmt: skip
