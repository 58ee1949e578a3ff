"""The scene of a job: who takes part, of which version, and where things lie on each host. Stable for the life of the job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs.recipe import Brief, NodeSpec, World
from remote import config, guard, postgres, versions
from remote.command import Command, Secret, Text, WriteFile, script, text_value
from remote.facts import Facts, FactsRequest, Identify, PathFact, Postgres, Unreachable
from remote.versions import Version

SCRIPTS = Path(__file__).with_name("scripts")
MARKER = "pgpanel.job"
REPLACEABLE = "pgpanel.replaceable"
KEPT = "pgpanel.kept"
"""Names the job that has proven that this directory may be moved aside."""
CONFIGURATION = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "start.conf", "environment", "pg_ctl.conf")
OWN_FILES = (
    "push",
    "receive",
    "settings",
    "targets",
    "known_hosts",
    "key",
    "pgpass",
    "roles",
    "authorized",
    "received",
    "role-change",
    "hold",
)
COPY_SECONDS = 7 * 24 * 3600.0
USUAL_HOMES = ("/var/lib/postgresql", "/var/lib/pgsql", "/opt/cocca-8/postgresql", "/opt/cocca-8")


def script_text(name: str) -> str:
    return (SCRIPTS / name).read_text()


def on_host(name: str, *arguments: str, **options: object) -> Command:
    """One of `scripts/` as a command; what differs reaches it as arguments only."""
    return script(script_text(name), *arguments, **options)


@dataclass(frozen=True)
class Scene:
    """members: every node that gets what is symmetric (keys, roles' lines, settings): primary, standbys, and `others`, nodes of the
    cluster that already follow the primary and are not made by this job. is_reseeding: standbys that exist are copied anew.
    absent: followers that do not answer now. No step runs on them, but their lines, archive target and key stay on the others.
    upstreams: who follows another than the primary (a cascade). synchronous: synchronous_standby_names, where a job decides it."""

    brief: Brief
    primary: NodeSpec
    standbys: tuple[NodeSpec, ...]
    others: tuple[NodeSpec, ...]
    major: str
    system_identifier: str
    segment_bytes: int = 16 * 1024 * 1024
    homes: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str] = field(default_factory=dict)
    is_reseeding: bool = False
    absent: tuple[NodeSpec, ...] = ()
    upstreams: Mapping[str, str] = field(default_factory=dict)
    synchronous: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> Version:
        return versions.of(self.major)

    @property
    def members(self) -> tuple[NodeSpec, ...]:
        return (self.primary, *self.standbys, *self.others)

    @property
    def family(self) -> tuple[NodeSpec, ...]:
        """The members and those of them that are away: whom every member knows."""
        return (*self.members, *self.absent)

    @property
    def followers(self) -> tuple[NodeSpec, ...]:
        return (*self.standbys, *self.others)

    def peers(self, spec: NodeSpec) -> tuple[NodeSpec, ...]:
        known = sorted(self.family, key=lambda member: member.name)  # whoever is primary, the files that name them stay the same
        return tuple(member for member in known if member.name != spec.name)

    def upstream(self, spec: NodeSpec) -> NodeSpec:
        name = self.upstreams.get(spec.name, self.primary.name)
        return self.brief.nodes[name if name != spec.name else self.primary.name]

    def new_directory(self, spec: NodeSpec) -> str:
        return f"{spec.data_directory}.new-{self.brief.job}"

    def old_directory(self, spec: NodeSpec) -> str:
        return f"{spec.data_directory}.old-{self.brief.job}"

    def slot(self, spec: NodeSpec) -> str:
        return slot_name(spec)

    def secret(self, purpose: str) -> Secret:
        return self.brief.secrets[purpose]


def slot_name(spec: NodeSpec) -> str:
    return f"pgpanel_{spec.name.replace('-', '_')}"


def own_directory(spec: NodeSpec) -> str:
    """Scripts, keys and password file of this node. Beside the archived WAL, so that two clusters of one account never share it."""
    return f"{spec.wal_archive_directory}/.pgpanel"


def own_file(spec: NodeSpec, name: str) -> str:
    return f"{own_directory(spec)}/{name}"


def scene_of(primary: str, standbys: Sequence[str], brief: Brief, world: World) -> Scene:
    """Needs a primary that was seen (`checks` refuses before anything else when it was not)."""
    spec = brief.nodes[primary]
    found = postgres_of(world, spec)
    control = found.control if found else None
    identifier = control.system_identifier if control else brief.cluster_identifier
    chosen = (primary, *standbys)
    others = tuple(node for node in brief.nodes.values() if node.name not in chosen and is_standby_of(world, node, identifier))
    return Scene(
        brief=brief,
        primary=spec,
        standbys=tuple(brief.nodes[name] for name in standbys),
        others=others,
        absent=absent_members(spec, brief, world, chosen),
        upstreams=cascades(others, primary, brief, world, identifier),
        major=found.major if found else "",
        system_identifier=identifier,
        segment_bytes=control.wal_segment_bytes if control else 16 * 1024 * 1024,
        slots={node.name: slot for node in brief.nodes.values() if (slot := slot_in_use(world, node, identifier))},
        homes={name: home_of(facts, brief.nodes[name]) for name, facts in world.nodes.items() if isinstance(facts, Facts)},
    )


def cascades(others: Sequence[NodeSpec], primary: str, brief: Brief, world: World, identifier: str) -> dict[str, str]:
    """Who of `others` follows another standby."""
    above = {node.name: upstream_of(world, node, brief) for node in others if is_standby_of(world, node, identifier)}
    standbys = {node.name for node in brief.nodes.values() if is_standby_of(world, node, identifier)} - {primary}
    return {name: upstream for name, upstream in above.items() if upstream in standbys - {name}}


def absent_members(primary: NodeSpec, brief: Brief, world: World, chosen: Sequence[str]) -> tuple[NodeSpec, ...]:
    """Nodes that do not answer and that the primary's managed block of pg_hba.conf names: they were members when it was written."""
    away = [node for node in brief.nodes.values() if isinstance(world.nodes.get(node.name), Unreachable)]
    named = _named_in_hba(world, primary) if away else frozenset()
    return tuple(node for node in away if node.name in named and node.name not in chosen)


def _named_in_hba(world: World, primary: NodeSpec) -> frozenset[str]:
    facts = world.nodes.get(primary.name)
    found = facts.paths.get(f"{primary.config_directory}/pg_hba.conf") if isinstance(facts, Facts) else None
    try:
        block = config.block_of((found.text if found else None) or "")
    except config.ConfigDamaged:  # the preflight refuses it in its own words
        return frozenset()
    lines = block.lines if block else ()
    return frozenset(line.rpartition("  # ")[2] for line in lines if line.startswith("host replication "))


def slot_in_use(world: World, spec: NodeSpec, identifier: str) -> str:
    """The slot that an existing standby streams through, or says that it would."""
    found = postgres_of(world, spec)
    if not found or not is_standby_of(world, spec, identifier):
        return ""
    if found.receiver and found.receiver.slot_name:
        return found.receiver.slot_name
    said = config.parse_settings(found.config_text) | config.parse_settings(found.auto_config_text)
    return found.setting("primary_slot_name") or (said | config.parse_settings(found.recovery_text)).get("primary_slot_name", "")


def upstream_of(world: World, spec: NodeSpec, brief: Brief) -> str:
    """The node that a standby is told to follow, "" where that is none of the cluster's."""
    found = postgres_of(world, spec)
    if found is None:
        return ""
    said = config.parse_settings(found.config_text) | config.parse_settings(found.auto_config_text)
    text = (said | config.parse_settings(found.recovery_text)).get("primary_conninfo", "")
    texts = (found.receiver.conninfo if found.receiver else "", found.setting("primary_conninfo"), text)
    words = [config.conninfo_words(one) for one in texts if one]
    places = {(known.get("host", ""), known.get("port", "5432")) for known in words[:1]}
    return next(
        (node.name for node in brief.nodes.values() for host in (node.address, node.ssh_host) if (host, str(node.port)) in places),
        "",
    )


def home_of(facts: Facts, spec: NodeSpec) -> str:
    account = facts.accounts.get(spec.owner)
    return account.home.rstrip("/") if account else ""


def postgres_of(world: World, spec: NodeSpec) -> Postgres | None:
    """None too for a host that does not answer: for what may be asked of any node."""
    facts = world.nodes.get(spec.name)
    return None if facts is None or isinstance(facts, Unreachable) else facts.postgres(spec.data_directory)


def path_of(world: World, spec: NodeSpec, path: str) -> PathFact:
    return world.facts(spec.name).paths.get(path, PathFact("missing"))


def is_standby_of(world: World, spec: NodeSpec, identifier: str) -> bool:
    found = postgres_of(world, spec)
    return bool(found and found.role == "standby" and identifier and found.system_identifier == identifier)


def marker_at(world: World, spec: NodeSpec, directory: str) -> str:
    """The job that a finished copy in `directory` names, "" for none."""
    return (path_of(world, spec, f"{directory}/{MARKER}").text or "").strip()


def is_in_place(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """This job's finished copy is the data directory."""
    return marker_at(world, spec, spec.data_directory) == scene.brief.job


def is_established(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """A standby of this cluster that another job (or a person) made: it runs, or a finished copy of pgpanel's stands there stopped.

    What this job itself has put there does not count: `is_in_place` tells of that.
    """
    found = postgres_of(world, spec)
    if not found or scene.is_reseeding or not is_standby_of(world, spec, scene.system_identifier):
        return False
    marker = marker_at(world, spec, spec.data_directory)
    return marker != scene.brief.job and (found.is_running or marker != "")


def has_file(world: World, action: WriteFile, spec: NodeSpec) -> bool:
    """Whether the file stands as the action would write it: text, owner and mode."""
    found = path_of(world, spec, action.path)
    wanted = text_value(action.text)
    if found.kind != "file" or (found.mode and int(found.mode, 8) != int(action.mode, 8)):
        return False
    if found.owner and found.owner != action.owner.split(":")[0]:
        return False
    return found.digest == digest_of(wanted) if found.digest else found.text == wanted


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def has_files(world: World, actions: Sequence[WriteFile], spec: NodeSpec) -> bool:
    return all(has_file(world, action, spec) for action in actions)


def is_new(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """This job makes its data directory, or has made it."""
    return spec in scene.standbys and not is_established(scene, world, spec)


def sql_on(world: World, spec: NodeSpec, sql: Text, mutates: bool = True) -> Command:
    found = postgres_of(world, spec)
    return postgres.psql(spec, sql, socket_directory=found.socket_directory if found else "", mutates=mutates)


def sql_at(spec: NodeSpec, sql: Text, timeout_seconds: float = 60.0) -> Command:
    """Like `sql_on`, for a server that may be stopped when this is planned, or when the job goes on after a break."""
    words = (f"{spec.bin_directory}/psql", spec.data_directory, str(spec.port), spec.owner)
    return on_host("psql_here.sh", *words, user=spec.owner, stdin=sql, timeout_seconds=timeout_seconds)


def as_permitted(world: World, spec: NodeSpec, command: Command) -> Command:
    """Without root on the host, what root would do is tried as the owner (pg_ctlcluster, say, takes both)."""
    return command if command.user != "root" or world.facts(spec.name).can_become_root else command.as_user(spec.owner)


def places_beside(spec: NodeSpec) -> tuple[str, ...]:
    """Where copies, what is put aside and the archive come to lie: whoever makes them must be able to."""
    return tuple(
        dict.fromkeys(path.rstrip("/").rpartition("/")[0] or "/" for path in (spec.data_directory, spec.wal_archive_directory))
    )


def request_of(brief: Brief, spec: NodeSpec, more_paths: Sequence[str] = ()) -> FactsRequest:
    """What every kind here looks at on a node. Homes are guessed (facts tell them only afterwards): see `keys.authorized_path`."""
    own = own_directory(spec)
    new = f"{spec.data_directory}.new-{brief.job}"
    homes = dict.fromkeys((*USUAL_HOMES, f"/home/{spec.owner}"))
    data = spec.data_directory
    paths = (
        *(
            data,
            f"{data}/{MARKER}",
            f"{data}/{REPLACEABLE}",
            f"{data}/recovery.conf",
            f"{data}/standby.signal",
            f"{data}/pgpanel.fence-{brief.job}",
            f"{data}/pgpanel.unfenced-{brief.job}",
            new,
            f"{new}/{MARKER}",
            f"{new}/{KEPT}",
            f"{data}.old-{brief.job}",
        ),
        *(f"{spec.config_directory}/{name}" for name in CONFIGURATION),
        *(spec.wal_archive_directory, own, *(f"{own}/{name}" for name in OWN_FILES)),
        *places_beside(spec),
        *(f"{own}/{name}-{node}" for node in brief.nodes if node != spec.name for name in ("serve", "guard.follow")),
        *guard.paths(spec),
        *(f"{home}/.ssh/authorized_keys" for home in homes),
        f"/etc/systemd/system/multi-user.target.wants/{spec.service}.service",
        f"/run/systemd/system/{spec.service}.service.d/pgpanel.conf",
        *("/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key"),
    )
    peers = [node for node in brief.nodes.values() if node.name != spec.name]
    return FactsRequest(
        data_directory=spec.data_directory,
        port=spec.port,
        bin_directory=spec.bin_directory,
        owner=spec.owner,
        paths=tuple(dict.fromkeys((*paths, *more_paths))),
        reach=tuple((peer.address, port) for peer in peers for port in dict.fromkeys((peer.port, peer.ssh_port))),
    )


def asking_requests(brief: Brief, names: Sequence[str]) -> dict[str, FactsRequest]:
    """Of these nodes; each host also asks every other who it is, as the replication role: an active question, since a WAL receiver
    believes in the dead, and proof that the way back is open."""
    found = {}
    for name in names:
        spec = brief.nodes[name]
        peers = [peer for peer in brief.nodes.values() if peer != spec]
        ask = tuple(Identify(peer.address, peer.port, "", own_file(spec, "pgpass")) for peer in peers)
        found[name] = replace(request_of(brief, spec), identify=ask)
    return found
