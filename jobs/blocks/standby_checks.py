"""Preflight of each host that is to hold a copy."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from jobs.blocks.line import Line
from jobs.blocks.scene import Scene, is_established, is_in_place, is_new, path_of, postgres_of
from jobs.recipe import Check, NodeSpec, World
from remote import layouts
from remote.facts import Installation

EMPTY_CLUSTER_BYTES = 128 * 1024**2
SPARE_BYTES = 256 * 1024**2

Found = Check | None


def standby_checks(
    scene: Scene, world: World, spec: NodeSpec, may_replace_empty: bool, tablespaces: Mapping[str, str]
) -> list[Check]:
    found = [*(one(scene, world, spec) for one in CHECKS), target_check(scene, world, spec, may_replace_empty)]
    found += [_tablespace(world, spec, path) for path in tablespaces.values() if is_new(scene, world, spec)]
    return [answer for answer in found if answer]


def version_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    line = Line("standby.version", spec.name, f"PostgreSQL {scene.major} is installed")
    installed = installation_of(world, spec)
    if installed and installed.major == scene.major:
        primary = postgres_of(world, scene.primary)
        differs = primary and primary.version and installed.version and primary.version != installed.version
        return line.ok(f"{installed.version}; the primary has {primary.version}" if differs and primary else installed.version)
    reason = f"{spec.bin_directory} has PostgreSQL {installed.major}" if installed else f"there is nothing in {spec.bin_directory}"
    package = f"apt-get install postgresql-{scene.major}" if spec.layout == layouts.DEBIAN.name else ""
    return line.refused(reason, f"install PostgreSQL {scene.major} on {spec.name}", package)


def machine_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    """Two names of one host: the copy would go over its own source."""
    facts, primary = world.facts(spec.name), world.facts(scene.primary.name)
    is_same = bool(facts.machine_id) and facts.machine_id == primary.machine_id and facts.hostname == primary.hostname
    if not (is_same and set(facts.addresses) == set(primary.addresses)) or spec.data_directory != scene.primary.data_directory:
        return None
    line = Line("standby.machine", spec.name, "It is not the primary's own directory")
    reason = f"{spec.name} and {scene.primary.name} are one host, {facts.hostname}, with one data directory"
    return line.refused(reason, "correct the address or the data directory of one of them")


def architecture_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    primary, own = world.facts(scene.primary.name).architecture, world.facts(spec.name).architecture
    if not primary or not own or primary == own:
        return None
    line = Line("standby.architecture", spec.name, "The same architecture")
    return line.refused(f"{own} here, {primary} on {scene.primary.name}", "a physical copy works only between machines of one kind")


def target_check(scene: Scene, world: World, spec: NodeSpec, may_replace_empty: bool) -> Check:
    """Missing, empty, or proven to be ours: never somebody's data, never a running server's."""
    line, directory = Line("standby.target", spec.name, "The data directory may be filled"), spec.data_directory
    if is_established(scene, world, spec):
        return line.ok("a standby of this cluster is there already: it is not copied again")
    if is_in_place(scene, world, spec):
        return line.ok("the copy of this job is there")
    if is_mount_point(world, spec, directory):
        return line.refused(f"{directory} is a mount point: a new directory cannot take its place", "choose a directory inside it")
    found, server = path_of(world, spec, directory), postgres_of(world, spec)
    if found.kind == "missing" or (found.kind == "directory" and found.entries == 0):
        return line.ok(f"{directory} is {'missing' if found.kind == 'missing' else 'empty'}")
    if server and server.is_running and _looks_empty(scene, world, spec) and may_replace_empty:
        return line.warning("an unused cluster, as the package makes it, runs there: it is proven empty, stopped and moved aside")
    reason = f"{directory} holds files of somebody's"
    if server:
        state = "running" if server.is_running else "stopped"
        whose = server.system_identifier or "unknown"
        reason = f"{directory} holds another database cluster ({state}, system identifier {whose})"
    away = f"mv {shlex.quote(directory)} {shlex.quote(f'{directory}.away')}"
    return line.refused(reason, f"if nobody needs it, stop it and move it away on {spec.name} yourself", away)


def is_mount_point(world: World, spec: NodeSpec, directory: str) -> bool:
    mount = world.facts(spec.name).mount_of(directory)
    return mount is not None and mount.path.rstrip("/") == directory.rstrip("/")


def _looks_empty(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """Nothing but what initdb makes; the server itself is asked again before it is stopped."""
    server = postgres_of(world, spec)
    if server is None or not server.answers_sql or server.role == "standby" or server.system_identifier == scene.system_identifier:
        return False
    has_only_postgres = {role.name for role in server.roles} <= {spec.owner, "postgres"}
    has_no_database = set(server.databases) <= {"postgres", "template0", "template1"}
    return has_only_postgres and has_no_database and not server.tablespaces and server.size_bytes < EMPTY_CLUSTER_BYTES


def disk_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    source = postgres_of(world, scene.primary)
    if source is None or not is_new(scene, world, spec) or is_in_place(scene, world, spec):
        return None
    return room_check(scene, world, spec, spec.data_directory)


def room_check(scene: Scene, world: World, spec: NodeSpec, directory: str) -> Found:
    source, mount = postgres_of(world, scene.primary), world.facts(spec.name).mount_of(directory)
    if source is None or mount is None:
        return None
    # a tenth more, because it grows while it is copied, and the WAL of that time
    size = source.size_bytes + sum(space.size_bytes for space in source.tablespaces)
    needed = int(size * 1.1) + source.wal_bytes + SPARE_BYTES
    line = Line("standby.disk", spec.name, "Disk for data and WAL")
    said = f"{needed // 1024**2:,} MB needed, {mount.free_bytes // 1024**2:,} MB free on {mount.path}"
    if mount.free_bytes >= needed:
        return line.ok(said)
    most = f"du -xh --max-depth=2 {shlex.quote(mount.path)} | sort -h | tail"
    return line.refused(said, f"free some space on {spec.name}", most)


def collations_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    line = Line("standby.collations", spec.name, "The same collation libraries")
    primary, own = world.facts(scene.primary.name), world.facts(spec.name)
    both = (("glibc", primary.glibc_version, own.glibc_version), ("ICU", primary.icu_version, own.icu_version))
    differing = [
        f"{name} {there} on {scene.primary.name}, {here} here" for name, there, here in both if there and here and there != here
    ]
    if not differing:
        return line.ok(f"glibc {own.glibc_version or 'unknown'}, ICU {own.icu_version or 'none'}")
    reason = f"{'; '.join(differing)}: text may sort differently, and indexes on it would be corrupt after a switchover"
    return line.warning(reason, "run the same release of the operating system on every node")


def _tablespace(world: World, spec: NodeSpec, path: str) -> Check:
    line, found = Line(f"standby.tablespace.{path}", spec.name, f"Room for the tablespace in {path}"), path_of(world, spec, path)
    if found.kind == "missing" or (found.kind == "directory" and found.entries == 0):
        return line.ok(f"{path} is {'missing' if found.kind == 'missing' else 'empty'}")
    return line.refused(f"{path} is not empty", f"on {spec.name}, empty it or choose another place")


def libraries_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    """Functions and settings of the primary name them; replication brings the names, and only a package brings the files."""
    source = postgres_of(world, scene.primary)
    if source is None or not source.libraries or not is_new(scene, world, spec):
        return None
    line, own, theirs = (
        Line("standby.libraries", spec.name, "Extension libraries"),
        *(installation_of(world, node) for node in (spec, scene.primary)),
    )
    if own is None or not own.libraries:  # the directory is not where it was looked for
        return line.ok(f"asked for before the copy: {', '.join(source.libraries)}")
    missing = [name for library in source.libraries if (name := _named(library, own)) and name not in own.libraries]
    if not missing:
        return line.ok(", ".join(library.removeprefix("$libdir/") for library in source.libraries))
    known = theirs.libraries if theirs else {}
    packages = sorted({known[name] for name in missing if known.get(name)})
    reason = f"{', '.join(missing)} is not installed here: what uses it on {scene.primary.name} would fail after a switchover"
    if not packages:
        where = f"{theirs.library_directory if theirs else own.library_directory}/{missing[0]}.so"
        return line.refused(reason, f"install it on {spec.name} from where {where} came from on {scene.primary.name}")
    install = f"apt-get install {' '.join(packages)}"
    return line.refused(reason, f"install {', '.join(packages)} on {spec.name}, as on {scene.primary.name}", install)


def installation_of(world: World, spec: NodeSpec) -> Installation | None:
    found = world.facts(spec.name).installations
    return next((one for one in found if one.bin_directory == spec.bin_directory), None)


def _named(library: str, own: Installation) -> str:
    """Its name in the library directory; "" where it lies elsewhere, which only the host itself can look up (`copying`)."""
    directory, _, name = library.rpartition("/")
    return name.removesuffix(".so") if directory in ("", "$libdir", own.library_directory) else ""


def certificate_check(scene: Scene, world: World, spec: NodeSpec) -> Found:
    """A server with ssl=on does not start without the files that its configuration names."""
    source = postgres_of(world, scene.primary)
    if source is None or source.setting("ssl") != "on" or not is_new(scene, world, spec):
        return None
    line, facts = Line("standby.certificate", spec.name, "The files for ssl=on"), world.facts(spec.name)
    named = [path for path in (source.setting("ssl_cert_file"), source.setting("ssl_key_file")) if path.startswith("/")]
    missing = [path for path in named if path in facts.paths and facts.paths[path].kind == "missing"]
    if missing:
        return line.refused(
            f"{', '.join(missing)} is missing", f"make it on {spec.name}", "make-ssl-cert generate-default-snakeoil"
        )
    unseen = [path for path in named if path not in facts.paths]
    if unseen:
        return line.warning(f"{', '.join(unseen)} must be on {spec.name} too", "copy them there, readable for the owner alone")
    return line.ok(", ".join(named) or "in the data directory")


CHECKS: tuple[Callable[[Scene, World, NodeSpec], Found], ...] = (
    version_check, machine_check, architecture_check, disk_check, collations_check, libraries_check, certificate_check,
)  # fmt: skip
