"""How a node stands among the others: who writes, who follows whom, what a start would make of it, what its files say already.

Pure, and asked of any node: a host that does not answer is one that says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.blocks.line import Line
from jobs.blocks.scene import postgres_of
from jobs.blocks.settings import is_same
from jobs.recipe import Brief, Check, NodeSpec, World
from remote import config
from remote.facts import Postgres, Setting, Slot, Unreachable, WalSender

WAITS = "postmaster"
LOCATIONS = frozenset({"data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"})
"""Told to the server from outside, whatever a file says."""


def is_up(server: Postgres | None) -> bool:
    return bool(server and server.is_running and server.answers_sql)


def starts_as_standby(server: Postgres) -> bool:
    return bool({"standby.signal", "recovery.conf", "recovery.signal"} & set(server.signal_files))


def role_of(server: Postgres) -> str:
    """As it runs, or as its next start would make it: the same before, during and after a restart."""
    return "standby" if starts_as_standby(server) or (is_up(server) and server.role == "standby") else "primary"


def writers(brief: Brief, world: World, but: str = "") -> tuple[NodeSpec, ...]:
    """Nodes that take writes of this cluster now."""
    found = []
    for spec in brief.nodes.values():
        server = postgres_of(world, spec)
        if spec.name != but and server and is_up(server) and server.role == "primary" and _is_of(brief, server):
            found.append(spec)
    return tuple(found)


def _is_of(brief: Brief, server: Postgres) -> bool:
    return not brief.cluster_identifier or server.system_identifier == brief.cluster_identifier


def the_primary(brief: Brief, world: World) -> tuple[NodeSpec | None, Check]:
    """The one node that takes writes; None, and the refusal, where there is none or more than one."""
    found = writers(brief, world)
    line = Line("cluster.primary", found[0].name if found else next(iter(brief.nodes)), "There is one primary")
    if len(found) == 1:
        return found[0], line.ok(found[0].name)
    if found:
        return None, line.refused(f"{' and '.join(spec.name for spec in found)} both take writes", "fence the wrong one first")
    return None, line.refused("no node takes writes", "start the primary, or promote a standby")


def would_be_primary(brief: Brief, world: World) -> NodeSpec:
    """The same while it restarts and nobody writes: then it is the node that is no standby."""
    primary, _refusal = the_primary(brief, world)
    if primary is not None:
        return primary
    known = [(spec, server) for spec in brief.nodes.values() if (server := postgres_of(world, spec))]
    return next((spec for spec, server in known if role_of(server) == "primary"), next(iter(brief.nodes.values())))


def row_of(brief: Brief, world: World, name: str) -> tuple[NodeSpec, WalSender] | None:
    """The node that sends WAL to `name` now, and its row there; a standby made by hand is known by its address."""
    address = brief.nodes[name].address
    for spec in brief.nodes.values():
        server = postgres_of(world, spec)
        for sender in server.senders if server else ():
            is_its = sender.application_name == name or (
                sender.application_name not in brief.nodes and sender.client_address.partition("/")[0] == address
            )
            if spec.name != name and is_its:
                return spec, sender
    return None


def slot_of(brief: Brief, world: World, name: str, slot: str) -> tuple[NodeSpec, Slot] | None:
    """Where the slot of a standby is: on the node that sends to it, else on any that writes."""
    row = row_of(brief, world, name)
    for spec in (*((row[0],) if row else ()), *writers(brief, world, but=name)):
        server = postgres_of(world, spec)
        found = server.slot_named(slot) if server else None
        if found:
            return spec, found
    return None


def second_primary_check(brief: Brief, world: World, spec: NodeSpec, verb: str) -> Check:
    """A node that would take writes beside another, or that was promoted away from, is not started."""
    line, server = Line("node.single", spec.name, "Nobody else would be primary beside it"), postgres_of(world, spec)
    if server is None or role_of(server) == "standby":
        return line.ok("it starts as a standby")
    mend = f"rebuild {spec.name}: it becomes a standby, and what it has for itself stays readable"
    if spec.name in brief.quarantined:
        reason = f"it is under quarantine ({brief.quarantined[spec.name]}), and would be {verb} as a primary"
        return line.refused(reason, mend)
    if others := writers(brief, world, but=spec.name):
        names = " and ".join(other.name for other in others)
        return line.refused(f"{names} takes the writes: {spec.name} would be {verb} as a second primary", mend)
    if newer := _later(brief, world, spec, server):
        return line.refused(f"{newer}: what {spec.name} wrote since that node was promoted is on a dead branch", mend)
    away = [name for name, facts in world.nodes.items() if isinstance(facts, Unreachable) and name != spec.name]
    if away:
        return line.warning(f"{', '.join(away)} cannot be asked", "be sure that none of them takes writes before you go on")
    return line.ok("no other node takes writes, none is on a later timeline")


def _later(brief: Brief, world: World, spec: NodeSpec, server: Postgres) -> str:
    own = max(server.timeline, server.control.timeline if server.control else 0)
    for other in brief.nodes.values():
        found = postgres_of(world, other)
        if found and other.name != spec.name and _is_of(brief, found) and found.timeline > own > 0:
            return f"{other.name} is on timeline {found.timeline}, {spec.name} on {own}"
    return ""


@dataclass(frozen=True)
class Change:
    """A setting whose files say otherwise than the server runs with."""

    name: str
    running: str
    written: str
    waits: bool

    def __str__(self) -> str:
        return f"{self.name} {self.running} → {self.written}"


def value_shown(setting: Setting) -> str:
    """With its unit; sizes that pg_settings counts in blocks in the largest unit that divides them."""
    if not setting.unit or not setting.value.isdigit() or setting.value == "0":
        return setting.value
    if setting.unit.isalpha() and setting.unit not in ("kB", "MB"):
        return setting.value + setting.unit
    size = config.setting_bytes(setting.value, setting.unit)
    whole = [(name, size // count) for name, count in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)) if size % count == 0]
    return f"{whole[0][1]}{whole[0][0]}" if whole else setting.value


def changes_on_disk(server: Postgres | None) -> Sequence[Change]:
    """What a reload, or where it `waits` a restart, would change."""
    if server is None or not server.answers_sql:
        return ()
    try:
        block = config.block_of(server.config_text)
    except config.ConfigDamaged:
        return ()
    texts = [config.without_block(server.config_text), *server.included_texts.values()]
    texts += ["\n".join(block.lines) if block else "", server.auto_config_text]
    said: dict[str, str] = {}
    for text in texts:
        said |= config.parse_settings(text)
    found, settings = [], {name.lower(): setting for name, setting in server.settings.items()}
    for name, value in sorted(said.items()):
        if name in LOCATIONS:
            continue
        setting, shown = settings.get(name), config.without_passwords(value)
        if setting is None:  # the look does not tell of every setting that has its default
            found.append(Change(name, "default", shown, waits=False))
        elif setting.source not in ("command line", "override") and not _means(setting, value):
            found.append(Change(name, value_shown(setting), shown, setting.context == WAITS))
    return found


def _means(setting: Setting, value: str) -> bool:
    return is_same(setting, value) or setting.value.lower() == value.lower()


def synchronous_check(brief: Brief, world: World, spec: NodeSpec) -> Check | None:
    """Whether commits on the primary would wait for this standby."""
    row = row_of(brief, world, spec.name)
    if row is None or row[1].sync_state not in ("sync", "quorum"):
        return None
    above, server = row[0], postgres_of(world, row[0])
    others = [sender.application_name for sender in (server.senders if server else ())
              if sender.application_name != spec.name and sender.sync_state in ("sync", "quorum", "potential")]  # fmt: skip
    line = Line("node.synchronous", spec.name, "Commits that wait for it")
    if others:
        return line.ok(f"{above.name} has {', '.join(others)} beside it, which can confirm instead")
    return line.warning(
        f"it is the only synchronous standby of {above.name}: every commit there waits while it is away",
        "make another standby synchronous first, or take the wait off for that time",
        "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();",
    )
