"""Preflight: what must hold before anything is changed. Pure functions of what one look at every host found.

Each gives its line of the table, or nothing where it does not apply. A refusal names its mend, on the host where it must be done.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Sequence

from jobs.blocks.configuration import without_masked
from jobs.blocks.line import Line
from jobs.blocks.scene import Scene, is_established, path_of, places_beside, postgres_of
from jobs.blocks.settings import value_of
from jobs.recipe import Brief, Check, NodeSpec, World
from remote import config, versions
from remote.facts import Facts, Unreachable

SKEW_SECONDS = 10.0

# -- every host, before there is a scene ---------------------------------------------------------------------------------------


def host_checks(brief: Brief, world: World, names: Sequence[str], bystanders: Collection[str] = ()) -> list[Check]:
    """bystanders: nodes that the job was not asked about; one that does not answer holds it up in nothing (`absent_check`)."""
    found: list[Check] = []
    for name in names:
        facts, spec = world.nodes[name], brief.nodes[name]
        if isinstance(facts, Unreachable):
            if name not in bystanders or facts.cause == "host-key":  # somebody else may stand in its place
                found.append(Line("host.reachable", name, "The host answers").refused(facts.message, facts.mend))
        else:
            found += [answer for answer in (one(facts, spec) for one in HOST_CHECKS) if answer]
    return found


def _becoming(facts: Facts, spec: NodeSpec) -> Check:
    line = Line("host.login", spec.name, f"Log in and become {spec.owner}")
    if facts.can_become_owner:
        return line.ok(f"as {facts.login_user}, acting as {'root' if facts.can_become_root else spec.owner}")
    return line.refused(
        facts.become_error or f"{facts.login_user} may not become {spec.owner}",
        f"on {spec.name}, let {facts.login_user} become {spec.owner} and root by sudo",
        f"echo '{facts.login_user} ALL=({spec.owner},root) NOPASSWD: ALL' >/etc/sudoers.d/pgpanel",
    )


def _account(facts: Facts, spec: NodeSpec) -> Check:
    line, account = Line("host.account", spec.name, f"The account {spec.owner}"), facts.accounts.get(spec.owner)
    if account is None:
        return line.refused("there is no such account", f"install PostgreSQL on {spec.name} first")
    if account.shell.endswith(("/nologin", "/false")):
        return line.refused(
            f"its shell is {account.shell}: the other nodes could not hand in WAL",
            f"on {spec.name}, give it a shell",
            f"usermod -s /bin/sh {shlex.quote(spec.owner)}",
        )
    if account.is_locked:
        return line.warning(
            "it is locked: sshd lets its keys in only while UsePAM is yes, and the other nodes hand in WAL by them",
            f"if the archive of {spec.name} receives nothing, unlock it there without giving it a password",
            f"usermod -p '*' {shlex.quote(spec.owner)}",
        )
    return line.ok(f"home {account.home}")


def _remove_ipc(facts: Facts, spec: NodeSpec) -> Check | None:
    account = facts.accounts.get(spec.owner)
    if not facts.systemd_removes_ipc or account is None or account.is_system:
        return None
    return Line("host.remove_ipc", spec.name, "systemd leaves shared memory alone").refused(
        f"RemoveIPC=yes and {spec.owner} is no system user: a logout would take PostgreSQL's shared memory away",
        f"on {spec.name}, set RemoveIPC=no in /etc/systemd/logind.conf",
        "sed -i 's/^#*RemoveIPC=.*/RemoveIPC=no/' /etc/systemd/logind.conf && systemctl restart systemd-logind",
    )


def _clock(facts: Facts, spec: NodeSpec) -> Check:
    line, skew = Line("host.clock", spec.name, "The clock"), facts.clock_skew_seconds
    if abs(skew) <= SKEW_SECONDS:
        return line.ok(f"within {SKEW_SECONDS:.0f} s of the panel's")
    how = "ahead of" if skew > 0 else "behind"
    return line.warning(
        f"{abs(skew):.0f} s {how} the panel's: lag in seconds will be wrong by as much",
        f"on {spec.name}, run an NTP client",
        "timedatectl set-ntp true",
    )


def absent_check(scene: Scene, world: World, name: str) -> Check | None:
    """A node that nobody asked about and that does not answer: what stays for it, and what it still lacks afterwards."""
    facts = world.nodes[name]
    if not isinstance(facts, Unreachable) or facts.cause == "host-key":
        return None
    line, new = Line("host.reachable", name, "The host answers"), ", ".join(spec.name for spec in scene.standbys)
    again = f"when it answers again, add {new} once more: that brings {name} into line and copies nothing"
    gone = f"if it is gone for good, remove {name} from the panel"
    if name not in {spec.name for spec in scene.absent}:
        reason = f"{facts.message}. The panel has not made it follow yet, and prepares nothing for it now"
        return line.warning(reason, f"{again}; {gone}")
    stays = "Its slot, its lines in pg_hba.conf and its place in the archiving stay on the others, so that it can follow on"
    reason = f"{facts.message}. Nothing is done on it. {stays}; until it is brought into line it knows nothing of {new}"
    return line.warning(reason, f"{again}; {gone}")


HOST_CHECKS: tuple[Callable[[Facts, NodeSpec], Check | None], ...] = (_becoming, _account, _remove_ipc, _clock)


def places_check(spec: NodeSpec, world: World) -> Check | None:
    """Without root on the host: whether the archive, copies and what is put aside can lie where they belong."""
    facts = world.facts(spec.name)
    if facts.can_become_root:
        return None
    found = ((path, facts.paths.get(path)) for path in places_beside(spec))
    foreign = [path for path, place in found if place and place.kind == "directory" and place.owner != spec.owner]
    if not foreign:
        return None
    return Line("host.places", spec.name, f"{spec.owner} may make directories beside its own").refused(
        f"{', '.join(foreign)} does not belong to {spec.owner}, and {facts.login_user} may not become root",
        f"on {spec.name}, let {facts.login_user} become root by sudo, or give {spec.owner} the directory",
        f"chown {shlex.quote(spec.owner)} {' '.join(shlex.quote(path) for path in foreign)}",
    )


# -- is there a primary at all? ------------------------------------------------------------------------------------------------


def source_check(source: NodeSpec, brief: Brief, world: World, may_be_standby: bool = False) -> Check:
    """Whether there is a scene. may_be_standby: a copy may also be taken from a standby."""
    line, server = Line("primary.role", source.name, "It is a primary that answers"), postgres_of(world, source)
    if server is None:
        mend = "correct the node's data directory, or create a database cluster there"
        return line.refused(f"there is no database cluster in {source.data_directory}", mend)
    wrong = _wrong_with(source, brief, world, may_be_standby)
    return line.refused(*wrong) if wrong else line.ok(f"PostgreSQL {server.version or server.major}, timeline {server.timeline}")


def _wrong_with(source: NodeSpec, brief: Brief, world: World, may_be_standby: bool) -> tuple[str, str, str] | None:
    server = postgres_of(world, source)
    assert server is not None
    if not server.is_running or not server.answers_sql:
        return server.sql_error or "PostgreSQL is not running", f"start it on {source.name}", source.start_command
    if server.role == "standby" and not may_be_standby:
        return "it is a standby itself", "choose its primary here, or promote it first", ""
    if brief.cluster_identifier and server.system_identifier != brief.cluster_identifier:
        reason = f"its system identifier is {server.system_identifier}, this cluster's is {brief.cluster_identifier}"
        return reason, f"it is another database: point the node {source.name} at the right data directory", ""
    if server.control is None:
        return "pg_controldata cannot be read", f"on {source.name}, let the login become root or {source.owner}", ""
    try:
        versions.of(server.major)
    except versions.UnknownVersion as error:
        return str(error), "upgrade it first", ""
    return None


# -- every member --------------------------------------------------------------------------------------------------------------


def tools_check(spec: NodeSpec, world: World, needed: Sequence[str]) -> Check:
    line, tools = Line("host.tools", spec.name, "Programs"), world.facts(spec.name).tools
    missing = [tool for tool in needed if tool not in tools]
    if not missing:
        return line.ok(", ".join(needed) or "nothing else is needed")
    package = " ".join("openssh-client" if tool == "ssh" else tool for tool in missing)
    install = f"apt-get install {package}" if "apt-get" in tools or spec.layout == "debian" else f"install {package}"
    return line.refused(f"{', '.join(missing)} is missing", f"install it on {spec.name}", install)


def host_key_check(spec: NodeSpec) -> Check | None:
    if spec.host_key:
        return None
    line = Line("host.key", spec.name, "Its SSH host key is pinned")
    return line.refused(
        "the other nodes could not know it when they hand in WAL", f"accept the host key on the page of {spec.name}"
    )


def config_check(spec: NodeSpec, world: World) -> Check | None:
    """Markers that a person has damaged, or a password: what was not read cannot be written back."""
    line = Line("host.configuration", spec.name, "Its configuration files can be written back")
    for name in ("postgresql.conf", "pg_hba.conf"):
        path = f"{spec.config_directory}/{name}"
        text = path_of(world, spec, path).text or ""
        try:
            config.with_block(without_masked(text, ()), (), "check")
        except config.ConfigDamaged as error:
            return line.refused(f"{name}: {error}", f"mend it on {spec.name}", f"grep -n -e pgpanel -i -e password {path}")
    return None


def reach_checks(scene: Scene, world: World, with_ssh: bool) -> Iterator[Check]:
    """Ports really opened from the hosts: every node reaches every other's server, and for archiving its sshd."""
    for spec in scene.members:
        for peer in (peer for peer in scene.peers(spec) if peer not in scene.absent):
            yield from _way(scene, world, spec, peer, "PostgreSQL")
            if with_ssh:
                yield from _way(scene, world, spec, peer, "sshd")


def _way(scene: Scene, world: World, spec: NodeSpec, peer: NodeSpec, what: str) -> Iterator[Check]:
    port = peer.port if what == "PostgreSQL" else peer.ssh_port
    place = f"{peer.address}:{port}"
    known = world.facts(spec.name).reach.get(place)
    line = Line(f"reach.{peer.name}.{port}", spec.name, f"{spec.name} reaches {what} of {peer.name}")
    listens = what == "sshd" or _listens(scene, world, peer)
    mend = f"on {peer.name}, open port {port} for {spec.address}"
    rule = f"nft add rule inet filter input ip saddr {spec.address} tcp dport {port} accept"
    if known is None:
        return
    if known.is_open:
        yield line.ok(f"{place} is open")
    elif listens:
        yield line.refused(f"{place}: {known.error or 'no answer'}", mend, rule)
    elif "refused" in known.error.lower():
        yield line.ok(f"{place}: nothing listens yet, but the way is free")
    else:
        yield line.warning(f"{place}: {known.error or 'no answer'}", mend, rule)


def _listens(scene: Scene, world: World, peer: NodeSpec) -> bool:
    """Whether its server listens already where the others look; a new standby does not yet."""
    server = postgres_of(world, peer)
    if server is None or not server.is_running or (peer in scene.standbys and not is_established(scene, world, peer)):
        return False
    return bool({"*", "0.0.0.0", peer.address} & set(value_of(server, "listen_addresses").replace(" ", "").split(",")))  # noqa: S104
