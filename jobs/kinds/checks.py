"""Preflight: what must hold before anything is changed. Pure functions of what one look at every host found.

Each returns its line of the table, or nothing where it does not apply. A refusal names its mend, on the host where it must be done.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from jobs.kinds.params import SetupParams
from jobs.kinds.scene import Scene, is_established, is_in_place, is_new, path_of, postgres_of
from jobs.kinds.settings import foreign_archiving, has_slots, keep_megabytes, listen_addresses, needs_hints, number_of, value_of
from jobs.recipe import Brief, Check, Level, NodeSpec, World
from remote import layouts, versions
from remote.facts import Facts, Unreachable

SKEW_SECONDS = 10.0
EMPTY_CLUSTER_BYTES = 128 * 1024**2
FIRST_NODE_BYTES = 256 * 1024**2

Found = Check | None


def check(key: str, node: str, title: str, level: Level, reason: str = "", mend: str = "", command: str = "") -> Check:
    return Check(f"{key}#{node}", node, title, level, reason, mend, command)


# -- every host, before there is a scene ---------------------------------------------------------------------------------------


def host_checks(brief: Brief, world: World, names: tuple[str, ...]) -> list[Check]:
    found: list[Check] = []
    for name in names:
        facts, spec = world.nodes[name], brief.nodes[name]
        if isinstance(facts, Unreachable):
            found.append(check("host.reachable", name, "The host answers", "refused", facts.message, facts.mend))
            continue
        found += [answer for answer in (one(facts, spec) for one in HOST_CHECKS) if answer]
    return found


def _becoming(facts: Facts, spec: NodeSpec) -> Found:
    title = f"Log in and become {spec.owner}"
    if facts.can_become_owner:
        how = "root" if facts.can_become_root else spec.owner
        return check("host.login", spec.name, title, "ok", f"as {facts.login_user}, acting as {how}")
    return check(
        "host.login", spec.name, title, "refused", facts.become_error or f"{facts.login_user} may not become {spec.owner}",
        f"on {spec.name}, let {facts.login_user} become {spec.owner} by sudo",
        f"echo '{facts.login_user} ALL=({spec.owner},root) NOPASSWD: ALL' >/etc/sudoers.d/pgpanel",
    )  # fmt: skip


def _account(facts: Facts, spec: NodeSpec) -> Found:
    account, title = facts.accounts.get(spec.owner), f"The account {spec.owner}"
    if account is None:
        return check("host.account", spec.name, title, "refused", "there is no such account", "install PostgreSQL on this host first")
    if account.shell.endswith(("/nologin", "/false")):
        mend = f"usermod -s /bin/sh {shlex.quote(spec.owner)}"
        return check("host.account", spec.name, title, "refused", f"its shell is {account.shell}: the other nodes could not hand in WAL",
                     f"on {spec.name}, give it a shell", mend)  # fmt: skip
    if account.is_locked:
        reason = "it is locked: sshd lets its keys in only while UsePAM is yes, and the other nodes hand in WAL by them"
        return check("host.account", spec.name, title, "warning", reason, "if the archive receives nothing, unlock it without a password",
                     f"usermod -p '*' {shlex.quote(spec.owner)}")  # fmt: skip
    return check("host.account", spec.name, title, "ok", f"home {account.home}")


def _remove_ipc(facts: Facts, spec: NodeSpec) -> Found:
    account = facts.accounts.get(spec.owner)
    if not facts.systemd_removes_ipc or account is None or account.is_system:
        return None
    return check(
        "host.remove_ipc", spec.name, "systemd leaves shared memory alone", "refused",
        f"RemoveIPC=yes and {spec.owner} is no system user: logging out would take PostgreSQL's shared memory away",
        f"on {spec.name}, set RemoveIPC=no in /etc/systemd/logind.conf",
        "sed -i 's/^#*RemoveIPC=.*/RemoveIPC=no/' /etc/systemd/logind.conf && systemctl restart systemd-logind",
    )  # fmt: skip


def _clock(facts: Facts, spec: NodeSpec) -> Found:
    skew = facts.clock_skew_seconds
    if abs(skew) <= SKEW_SECONDS:
        return check("host.clock", spec.name, "The clock", "ok", f"{abs(skew):.1f} s from the panel's")
    return check("host.clock", spec.name, "The clock", "warning", f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the panel's:"
                 " lag in seconds will be wrong by as much", f"on {spec.name}, run an NTP client", "timedatectl set-ntp true")  # fmt: skip


HOST_CHECKS: tuple[Callable[[Facts, NodeSpec], Found], ...] = (_becoming, _account, _remove_ipc, _clock)


# -- the primary ---------------------------------------------------------------------------------------------------------------


def primary_check(primary: NodeSpec, brief: Brief, world: World) -> Check:
    """Whether there is a scene at all."""
    server, title = postgres_of(world, primary), "It is a primary that answers"
    name = primary.name
    if server is None:
        return check("primary.role", name, title, "refused", f"there is no database cluster in {primary.data_directory}",
                     "correct the node's data directory, or create a cluster there")  # fmt: skip
    if not server.is_running or not server.answers_sql:
        return check("primary.role", name, title, "refused", server.sql_error or "PostgreSQL is not running",
                     f"start it on {name}", primary.start_command)  # fmt: skip
    if server.role == "standby":
        return check("primary.role", name, title, "refused", "it is a standby itself",
                     "choose its primary here, or promote it first")  # fmt: skip
    if brief.cluster_identifier and server.system_identifier != brief.cluster_identifier:
        return check("primary.role", name, title, "refused",
                     f"its system identifier is {server.system_identifier}, this cluster's is {brief.cluster_identifier}",
                     "it is another database: point the node at the right data directory")  # fmt: skip
    if server.control is None:
        return check("primary.role", name, title, "refused", "pg_controldata cannot be read",
                     "let the panel's login become root or the owner of the data directory")  # fmt: skip
    try:
        versions.of(server.major)
    except versions.UnknownVersion as error:
        return check("primary.role", name, title, "refused", str(error), "upgrade it first")
    return check("primary.role", name, title, "ok", f"PostgreSQL {server.version or server.major}, timeline {server.timeline}")


def scene_checks(scene: Scene, params: SetupParams, world: World) -> list[Check]:
    found: list[Found] = [one(scene, params, world) for one in PRIMARY_CHECKS]
    for spec in scene.standbys:
        found += [one(scene, params, world, spec) for one in STANDBY_CHECKS]
    found += [one(scene, params, world, spec) for spec in scene.members for one in MEMBER_CHECKS]
    found += list(_reach(scene, params, world))
    return [answer for answer in found if answer]


def _free_senders(scene: Scene, _params: SetupParams, world: World) -> Found:
    server, title = postgres_of(world, scene.primary), "Replication connections free now"
    if server is None:
        return None
    total, used = number_of(server, "max_wal_senders"), len(server.senders)
    new = [spec for spec in scene.standbys if is_new(scene, world, spec)]
    if not new or total - used >= 2:
        return check("primary.senders", scene.primary.name, title, "ok", f"{total - used} of {total}")
    if total >= len(scene.members) + 1:
        return check("primary.senders", scene.primary.name, title, "refused", f"{used} of {total} are in use; a copy needs 2",
                     "end what uses them (pg_stat_replication), or raise max_wal_senders and restart")  # fmt: skip
    return check("primary.senders", scene.primary.name, title, "ok", f"max_wal_senders is raised from {total}")


def _free_slots(scene: Scene, params: SetupParams, world: World) -> Found:
    server, title = postgres_of(world, scene.primary), "Replication slots free now"
    if server is None or not has_slots(scene, params):
        return None
    ours = {scene.slot(spec) for spec in scene.followers}
    total, others = number_of(server, "max_replication_slots"), [slot.name for slot in server.slots if slot.name not in ours]
    if total >= len(scene.members) and total - len(others) < len(ours):
        return check("primary.slots", scene.primary.name, title, "refused", f"all {total} are taken: {', '.join(others)}",
                     "drop those that nobody uses, or raise max_replication_slots and restart")  # fmt: skip
    idle = [slot.name for slot in server.slots if slot.name not in ours and not slot.is_active]
    if idle:
        return check("primary.slots", scene.primary.name, title, "warning", f"nobody uses {', '.join(idle)}: such a slot holds WAL for ever",
                     "drop it if its standby is gone", f"SELECT pg_drop_replication_slot('{idle[0]}');")  # fmt: skip
    return check("primary.slots", scene.primary.name, title, "ok", f"{total - len(server.slots)} of {total}")


def _exclusive_backup(scene: Scene, _params: SetupParams, world: World) -> Found:
    server = postgres_of(world, scene.primary)
    if server is None or not server.is_backup_running:
        return None
    return check("primary.backup", scene.primary.name, "No exclusive backup is running", "refused", "pg_start_backup was called and not ended",
                 "end it, if its tool is gone", "SELECT pg_stop_backup();")  # fmt: skip


def _rewind(scene: Scene, params: SetupParams, world: World) -> Found:
    server, title = postgres_of(world, scene.primary), "A later rewind is possible"
    if not scene.version.has_wal_log_hints:
        return None
    if not needs_hints(scene, server):
        return check("primary.rewind", scene.primary.name, title, "ok", "the data has checksums")
    if value_of(server, "wal_log_hints") == "on":
        return check("primary.rewind", scene.primary.name, title, "ok", "wal_log_hints is on")
    if params.rewind_ready:
        return check("primary.rewind", scene.primary.name, title, "ok", "wal_log_hints is switched on; it needs a restart")
    return check("primary.rewind", scene.primary.name, title, "warning", "neither checksums nor wal_log_hints: after a failover it is too late",
                 "choose “make a later rewind possible”; it restarts the primary once")  # fmt: skip


def _retention(scene: Scene, params: SetupParams, world: World) -> Found:
    facts, title = world.nodes[scene.primary.name], "Room for the WAL that is kept for standbys"
    mount = facts.mount_of(scene.primary.data_directory) if isinstance(facts, Facts) else None
    if mount is None:
        return None
    megabytes, free = keep_megabytes(scene, params, world), mount.free_bytes // 1024**2
    cost = f"at most {megabytes:,} MB, {free:,} MB free on {mount.path}"
    if has_slots(scene, params) and not scene.version.has_slot_limit:
        return check("primary.retention", scene.primary.name, title, "warning",
                     f"PostgreSQL {scene.major} cannot limit what a slot holds: a standby that stays away fills the disk",
                     "choose kept segments instead, or watch the slots")  # fmt: skip
    level: Level = "ok" if megabytes < free else "warning"
    return check("primary.retention", scene.primary.name, title, level, cost, "" if level == "ok" else "choose less, or free some disk")


def _archiving(scene: Scene, params: SetupParams, world: World) -> Found:
    foreign, title = foreign_archiving(scene, params, world), "WAL archiving"
    if not params.archive:
        return check("primary.archiving", scene.primary.name, title, "ok", "not asked for")
    if foreign:
        return check("primary.archiving", scene.primary.name, title, "warning",
                     f"something else archives already and stays as it is: {foreign}. Nothing is pushed to the standbys.",
                     "choose to replace it, if nothing needs it")  # fmt: skip
    return check("primary.archiving", scene.primary.name, title, "ok", "each finished WAL file is pushed to the other nodes")


def _trust(scene: Scene, params: SetupParams, world: World) -> Found:
    if not params.trust:
        return None
    addresses = {member.address for member in scene.members} | {"127.0.0.1", "::1", "localhost"}
    for spec in scene.members:
        open_to = set(listen_addresses(scene, world, spec).split(",")) - addresses
        if open_to:
            return check("replication.trust", spec.name, "Replication without a password", "refused",
                         f"PostgreSQL listens on {', '.join(sorted(open_to))}: the port is open to more than the nodes",
                         "use a password, or limit listen_addresses to the nodes' addresses")  # fmt: skip
    return check("replication.trust", scene.primary.name, "Replication without a password", "warning",
                 "anybody on the nodes can read all WAL")  # fmt: skip


def _role(scene: Scene, params: SetupParams, world: World) -> Found:
    server = postgres_of(world, scene.primary)
    role = next((role for role in (server.roles if server else ()) if role.name == params.replication_role), None)
    if role is None or params.replication_role.startswith("pgpanel_"):
        return None
    return check("replication.role", scene.primary.name, f"The existing role {role.name}", "warning",
                 "its password is not changed: the one that the panel keeps for it must be the right one")  # fmt: skip


def _tablespaces(scene: Scene, params: SetupParams, world: World) -> Found:
    server, title = postgres_of(world, scene.primary), "Tablespaces"
    if server is None or not server.tablespaces or not any(is_new(scene, world, spec) for spec in scene.standbys):
        return None
    unmapped = [space.location for space in server.tablespaces if space.location.rstrip("/") not in params.tablespaces]
    if unmapped:
        return check("primary.tablespaces", scene.primary.name, title, "refused", f"no place on the standbys is given for {', '.join(unmapped)}",
                     "say under “tablespaces” where each goes", f"{unmapped[0]}={unmapped[0]}")  # fmt: skip
    moved = [old for old, new in params.tablespaces.items() if old != new]
    if moved and not scene.version.base_backup.maps_tablespaces:
        return check("primary.tablespaces", scene.primary.name, title, "refused", f"PostgreSQL {scene.major} cannot move {', '.join(moved)}",
                     "give the same directory on the standbys")  # fmt: skip
    return check("primary.tablespaces", scene.primary.name, title, "ok", ", ".join(f"{o} → {n}" for o, n in params.tablespaces.items()))


PRIMARY_CHECKS: tuple[Callable[[Scene, SetupParams, World], Found], ...] = (
    _free_senders, _free_slots, _exclusive_backup, _rewind, _retention, _archiving, _trust, _role, _tablespaces,
)  # fmt: skip


# -- each standby --------------------------------------------------------------------------------------------------------------


def _same_major(scene: Scene, _params: SetupParams, world: World, spec: NodeSpec) -> Found:
    facts, title = world.facts(spec.name), f"PostgreSQL {scene.major} is installed"
    found = [item for item in facts.installations if item.bin_directory == spec.bin_directory]
    if found and found[0].major == scene.major:
        primary, own = postgres_of(world, scene.primary), found[0].version
        if primary and primary.version and own and primary.version != own:
            return check("standby.version", spec.name, title, "ok", f"{own}; the primary has {primary.version}")
        return check("standby.version", spec.name, title, "ok", found[0].version)
    reason = f"{spec.bin_directory} has PostgreSQL {found[0].major}" if found else f"there is nothing in {spec.bin_directory}"
    package = f"apt-get install postgresql-{scene.major}" if spec.layout == layouts.DEBIAN.name else ""
    return check("standby.version", spec.name, title, "refused", reason, f"install PostgreSQL {scene.major} on {spec.name}", package)


def _other_machine(scene: Scene, _params: SetupParams, world: World, spec: NodeSpec) -> Found:
    facts, primary = world.facts(spec.name), world.facts(scene.primary.name)
    same_host = bool(facts.boot_id) and facts.boot_id == primary.boot_id and facts.hostname == primary.hostname
    same_host = same_host and set(facts.addresses) == set(primary.addresses)
    if not same_host or spec.data_directory != scene.primary.data_directory:
        return None
    return check("standby.machine", spec.name, "Not the primary's own directory", "refused",
                 f"{spec.name} and {scene.primary.name} are the same host, {facts.hostname}, with the same data directory",
                 "correct the address or the data directory of one of them")  # fmt: skip


def _target(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> Found:
    title, directory = "The data directory may be filled", spec.data_directory
    if is_established(scene, world, spec):
        return check("standby.target", spec.name, title, "ok", "a standby of this cluster is there already: it is not copied again")
    if is_in_place(scene, world, spec):
        return check("standby.target", spec.name, title, "ok", "the copy of this job is there")
    facts = world.facts(spec.name)
    found = path_of(world, spec, directory)
    mount = facts.mount_of(directory)
    if mount and mount.path.rstrip("/") == directory.rstrip("/"):
        return check("standby.target", spec.name, title, "refused", f"{directory} is a mount point: a new directory cannot take its place",
                     "choose a directory inside it")  # fmt: skip
    if found.kind == "missing" or (found.kind == "directory" and found.entries == 0):
        return check("standby.target", spec.name, title, "ok", f"{directory} is {'missing' if found.kind == 'missing' else 'empty'}")
    server = postgres_of(world, spec)
    if server is None:
        return _not_ours(spec, title, f"{directory} holds {'files' if found.kind == 'directory' else f'a {found.kind}'} of somebody's")
    if server.is_running and _looks_empty(scene, world, spec) and params.replace_empty_cluster:
        return check("standby.target", spec.name, title, "warning",
                     "an unused cluster that the package made is running there: it is proven empty, stopped and moved aside")  # fmt: skip
    state = "running" if server.is_running else "stopped"
    return _not_ours(spec, title, f"{directory} holds another database cluster ({state}, system identifier {server.system_identifier or '?'})")


def _not_ours(spec: NodeSpec, title: str, reason: str) -> Check:
    directory = spec.data_directory
    return check("standby.target", spec.name, title, "refused", reason,
                 "if nobody needs it, stop it and move it away yourself", f"mv {shlex.quote(directory)} {shlex.quote(directory + '.away')}")  # fmt: skip


def _looks_empty(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """Nothing but what initdb makes; asked again of the server itself before it is stopped."""
    server = postgres_of(world, spec)
    if server is None or not server.answers_sql or server.role == "standby" or server.system_identifier == scene.system_identifier:
        return False
    roles = {role.name for role in server.roles} <= {spec.owner, "postgres"}
    databases = set(server.databases) <= {"postgres", "template0", "template1"}
    return roles and databases and not server.tablespaces and server.size_bytes < EMPTY_CLUSTER_BYTES


def _disk(scene: Scene, _params: SetupParams, world: World, spec: NodeSpec) -> Found:
    server = postgres_of(world, scene.primary)
    mount = world.facts(spec.name).mount_of(spec.data_directory)
    if server is None or mount is None or not is_new(scene, world, spec) or is_in_place(scene, world, spec):
        return None
    outside = sum(space.size_bytes for space in server.tablespaces)
    # a tenth more, because it grows while it is copied, and the WAL that is written meanwhile
    needed = int((server.size_bytes + outside) * 1.1) + server.wal_bytes + FIRST_NODE_BYTES
    said = f"{needed // 1024**2:,} MB needed, {mount.free_bytes // 1024**2:,} MB free on {mount.path}"
    if path_of(world, spec, scene.new_directory(spec)).kind == "directory" or mount.free_bytes >= needed:
        return check("standby.disk", spec.name, "Disk for data and WAL", "ok", said)
    return check("standby.disk", spec.name, "Disk for data and WAL", "refused", said, f"free some space on {spec.name}",
                 f"du -xh --max-depth=2 {shlex.quote(mount.path)} | sort -h | tail")  # fmt: skip


def _collations(scene: Scene, _params: SetupParams, world: World, spec: NodeSpec) -> Found:
    primary, own = world.facts(scene.primary.name), world.facts(spec.name)
    differing = [
        f"{name} {there} on {scene.primary.name}, {here} here"
        for name, there, here in (("glibc", primary.glibc_version, own.glibc_version), ("ICU", primary.icu_version, own.icu_version))
        if there and here and there != here
    ]
    if not differing:
        return check("standby.collations", spec.name, "The same collation libraries", "ok", f"glibc {own.glibc_version or 'unknown'}")
    return check("standby.collations", spec.name, "The same collation libraries", "warning",
                 f"{'; '.join(differing)}: text may sort differently, and indexes on it would be corrupt after a switchover",
                 "run the same release of the operating system on every node")  # fmt: skip


def _architecture(scene: Scene, _params: SetupParams, world: World, spec: NodeSpec) -> Found:
    primary, own = world.facts(scene.primary.name).architecture, world.facts(spec.name).architecture
    if not primary or not own or primary == own:
        return None
    return check("standby.architecture", spec.name, "The same architecture", "refused", f"{own} here, {primary} on {scene.primary.name}",
                 "a physical copy works only between machines of one kind")  # fmt: skip


STANDBY_CHECKS: tuple[Callable[[Scene, SetupParams, World, NodeSpec], Found], ...] = (
    _same_major, _other_machine, _architecture, _target, _disk, _collations,
)  # fmt: skip


# -- every member --------------------------------------------------------------------------------------------------------------


def _tools(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> Found:
    tools = world.facts(spec.name).tools
    needed = (["ssh"] if params.archive else []) + (["rsync"] if params.method == "rsync" else [])
    missing = [tool for tool in needed if tool not in tools]
    if not missing:
        return check("host.tools", spec.name, "Programs", "ok", ", ".join(needed) or "nothing else is needed")
    package = " ".join("openssh-client" if tool == "ssh" else tool for tool in missing)
    return check("host.tools", spec.name, "Programs", "refused", f"{', '.join(missing)} is missing", f"install it on {spec.name}",
                 f"apt-get install {package}" if "debian" in spec.layout else f"yum install {package}")  # fmt: skip


def _host_key(scene: Scene, params: SetupParams, _world: World, spec: NodeSpec) -> Found:
    if spec.host_key or not params.archive:
        return None
    return check("host.key", spec.name, "Its SSH host key is pinned", "refused", "the other nodes could not know it when they hand in WAL",
                 "accept the host key on the node's page")  # fmt: skip


MEMBER_CHECKS: tuple[Callable[[Scene, SetupParams, World, NodeSpec], Found], ...] = (_tools, _host_key)


def _reach(scene: Scene, params: SetupParams, world: World) -> Iterator[Check]:
    """Ports really opened from the hosts: every node must reach the primary's server, and for archiving every other node's sshd."""
    for spec in scene.members:
        facts = world.facts(spec.name)
        for peer in scene.peers(spec):
            for port, what in ((peer.port, "PostgreSQL"), (peer.ssh_port, "sshd")):
                known = facts.reach.get(f"{peer.address}:{port}")
                if known is None or (what == "sshd" and not params.archive):
                    continue
                is_up = what == "sshd" or _listens(scene, world, peer)
                yield _reached(spec, peer, port, what, known.is_open, known.error, is_up)


def _listens(scene: Scene, world: World, peer: NodeSpec) -> bool:
    """Whether its server already listens where the others look: a standby does not yet, a primary on localhost only will after it."""
    server = postgres_of(world, peer)
    if server is None or not server.is_running or (peer in scene.standbys and not is_established(scene, world, peer)):
        return False
    return bool({"*", "0.0.0.0", peer.address} & set(value_of(server, "listen_addresses").replace(" ", "").split(",")))  # noqa: S104


def _reached(spec: NodeSpec, peer: NodeSpec, port: int, what: str, is_open: bool, error: str, is_up: bool) -> Check:
    title, key = f"{spec.name} reaches {what} of {peer.name}", f"reach.{peer.name}.{port}"
    if is_open:
        return check(key, spec.name, title, "ok", f"{peer.address}:{port} is open")
    if not is_up and "refused" in error.lower():
        return check(key, spec.name, title, "ok", f"{peer.address}:{port}: nothing listens yet, but the way is free")
    level: Level = "refused" if is_up or what == "sshd" else "warning"
    return check(key, spec.name, title, level, f"{peer.address}:{port}: {error or 'no answer'}",
                 f"open port {port} on {peer.name} for {spec.address}", f"nft add rule inet filter input ip saddr {spec.address} tcp dport {port} accept")  # fmt: skip
