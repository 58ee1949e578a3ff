"""The way for pg_rewind into the primary: a role of this job alone, let in by one line of pg_hba.conf, and gone when it is done."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from jobs.blocks.configuration import hba_address
from jobs.blocks.scene import Scene, on_host, own_file, path_of, postgres_of
from jobs.recipe import NodeSpec, Step, World
from remote import passwords, postgres
from remote.command import Action, Command, Secret, Text, WriteFile

ROLE = "pgpanel_rewind"
WORD = "pgpanel-rewind"
"""How its line in pg_hba.conf ends."""
QUIET = "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';\n"
FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
"""What the manual's page on pg_rewind asks of a role that is no superuser."""
ARCHIVE_READER = "pg_read_server_files"
"""And this, for WAL that only the primary's archive has left."""
CHECKPOINT_SECONDS = 3600.0


def password(scene: Scene) -> Secret:
    """Of this job alone: a resumed job finds it again, nobody else can."""
    seed = scene.secret("replication_password").value.encode()
    return Secret("password of this rewind", hmac.new(seed, f"rewind {scene.brief.job}".encode(), "sha256").hexdigest())


def password_file(scene: Scene, target: NodeSpec) -> WriteFile:
    return WriteFile(own_file(target, "pgpass-rewind"), postgres.pgpass_line(ROLE, password(scene)), target.owner)


def connection(scene: Scene) -> str:
    source = scene.primary
    return f"host={source.address} port={source.port} user={ROLE} dbname=postgres connect_timeout=10"


def open_step(scene: Scene, target: NodeSpec, slot_sql: str, slot: str, is_over: Callable[[World], bool]) -> Step:
    """Slot first: from now on the primary keeps the WAL. Then role and line, then CHECKPOINT, without which the control file still
    names the timeline before the promotion and pg_rewind would see nothing to do."""
    primary, line = scene.primary, hba_line(scene, target)
    hba = f"{primary.config_directory}/pg_hba.conf"

    def done(world: World) -> bool:
        if is_over(world):
            return True
        server = postgres_of(world, primary)
        if server is None or server.control is None or server.role_named(ROLE) is None:
            return False
        has_slot = not slot or any(found.name == slot and found.wal_status != "lost" for found in server.slots)
        return has_slot and f"{line}  # {WORD}" in _ours(world, scene) and server.control.timeline == server.timeline

    def actions(world: World) -> Sequence[Action]:
        return (
            _psql(scene, world, (slot_sql, *role_sql(scene))),
            on_host("hba_line.sh", "add", hba, WORD, line, *_reload(primary), user=primary.owner),
            _psql(scene, world, "CHECKPOINT;\n"),
        )

    what = "the functions that read files" if scene.version.rewind_by_grants else "everything (this version asks for a superuser)"
    return Step(
        key=f"source.open#{target.name}", node=primary.name, title=f"Let {target.name} read what differs; CHECKPOINT",
        done=done, actions=actions, reads=(target.name,), within_seconds=60,
        why=f"A role of this job alone, which may use {what}, only from {target.address}, for a day at most; removed when it is"
        " done. The checkpoint makes the control file name the present timeline.",
    )  # fmt: skip


def close_step(scene: Scene, target: NodeSpec, is_over: Callable[[World], bool]) -> Step:
    primary, hba = scene.primary, f"{scene.primary.config_directory}/pg_hba.conf"
    drop = (
        f"DO $drop$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}')"  # noqa: S608
        f" THEN DROP OWNED BY {ROLE}; DROP ROLE {ROLE}; END IF; END $drop$;\n"
    )

    def done(world: World) -> bool:
        server = postgres_of(world, primary)
        return not _ours(world, scene) and (server is None or server.role_named(ROLE) is None)

    def actions(world: World) -> Sequence[Action]:
        shut = on_host("hba_line.sh", "remove", hba, WORD, "", *_reload(primary), user=primary.owner)
        return (shut, _psql(scene, world, drop))

    return Step(
        key=f"source.close#{target.name}", node=primary.name, title=f"Remove the role {ROLE} and its line",
        done=done, actions=actions,
        forecast=lambda world: not is_over(world) or not done(world), reads=(target.name,),
        why="Nobody can read files of the primary's through it any more.",
    )  # fmt: skip


def hba_line(scene: Scene, target: NodeSpec) -> str:
    return f"host postgres {ROLE} {hba_address(target.address)} {'scram-sha-256' if scene.version.has_scram else 'md5'}"


def _ours(world: World, scene: Scene) -> list[str]:
    """Lines of this kind in pg_hba.conf, be they of a rebuild that was given up."""
    text = path_of(world, scene.primary, f"{scene.primary.config_directory}/pg_hba.conf").text or ""
    return [line for line in text.splitlines() if line.endswith(f"# {WORD}")]


def role_sql(scene: Scene) -> tuple[str | Secret, ...]:
    key = password(scene)
    salt = hmac.digest(key.value.encode(), b"pgpanel salt", "sha256")[: passwords.SALT_BYTES]
    attributes = ("LOGIN",) if scene.version.rewind_by_grants else ("LOGIN", "SUPERUSER")
    made = postgres.role_sql(ROLE, passwords.verifier(ROLE, key, scene.version, salt=salt), scene.version, attributes=attributes)
    pieces = made if isinstance(made, tuple) else (made,)
    expires = f"EXECUTE 'ALTER ROLE {ROLE} VALID UNTIL ' || quote_literal(now() + interval '1 day')"
    grants = [f"GRANT EXECUTE ON FUNCTION pg_catalog.{name} TO {ROLE};" for name in FUNCTIONS]
    grants = [*grants, f"GRANT {ARCHIVE_READER} TO {ROLE};"] if scene.version.rewind_by_grants else []
    return (*pieces, f"DO $until$ BEGIN {expires}; END $until$;\n", "".join(f"{grant}\n" for grant in grants))


def _reload(primary: NodeSpec) -> tuple[str, ...]:
    return postgres.reload(primary).argv


def _psql(scene: Scene, world: World, sql: Text) -> Command:
    server = postgres_of(world, scene.primary)
    where = server.socket_directory if server else ""
    return postgres.psql(scene.primary, sql, socket_directory=where, timeout_seconds=CHECKPOINT_SECONDS)
