"""The replication role and the monitoring role, on the primary: standbys get them by replication."""

from __future__ import annotations

import hmac

from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, has_file, own_file, postgres_of, sql_on
from jobs.recipe import Step, World
from remote import passwords, postgres
from remote.command import Secret, Text, WriteFile
from remote.facts import DatabaseRole
from remote.versions import Version

OURS = "pgpanel_"


def role_step(scene: Scene, params: SetupParams) -> Step:
    """One step for both. A fingerprint of the passwords is noted: the server cannot be asked whether they are ours."""
    primary = scene.primary
    noted = noted_file(scene, params)
    sql = (*_pieces(_replication(scene, params)), *_pieces(_monitoring(scene, params)))

    def done(world: World) -> bool:
        replication, monitoring = _found(world, scene, params.replication_role), _found(world, scene, params.monitoring_role)
        if not (replication and replication.can_login and replication.can_replicate and monitoring and monitoring.can_login):
            return False
        return _may_watch(scene.version, monitoring) and has_file(world, noted, primary)

    return Step(
        key="roles.make", node=primary.name, done=done, actions=lambda world: (sql_on(world, primary, sql), noted),
        title=f"Make the roles {params.replication_role} and {params.monitoring_role}",
        why="Standbys log in with the first and may only read WAL; the panel watches with the second and cannot write."
        " The server gets verifiers, never the passwords.",
    )  # fmt: skip


def noted_file(scene: Scene, params: SetupParams) -> WriteFile:
    """On the primary: of which passwords its roles have the verifiers."""
    return WriteFile(own_file(scene.primary, "roles"), _fingerprints(scene, params), scene.primary.owner)


def password_sql(scene: Scene, params: SetupParams, purpose: str) -> Text:
    """One of the two roles with the scene's password."""
    return _replication(scene, params) if purpose == "replication" else _monitoring(scene, params)


def _pieces(text: Text) -> tuple[str | Secret, ...]:
    return text if isinstance(text, tuple) else (text,)


def _found(world: World, scene: Scene, name: str) -> DatabaseRole | None:
    found = postgres_of(world, scene.primary)
    return next((role for role in found.roles if role.name == name), None) if found else None


def _may_watch(version: Version, role: DatabaseRole) -> bool:
    return role.is_superuser or not version.has_pg_monitor or "pg_monitor" in role.member_of


def _replication(scene: Scene, params: SetupParams) -> Text:
    name = params.replication_role
    attributes = postgres.replication_attributes(scene.version)
    if params.trust:
        return _without_password(name, attributes)
    return _role(scene, name, "replication_password", attributes)


def _monitoring(scene: Scene, params: SetupParams) -> Text:
    name = params.monitoring_role
    role = _role(scene, name, "monitoring_password", ("LOGIN",))
    return (*_pieces(role), _monitoring_rights(scene.version, postgres.identifier(name)))


def _role(scene: Scene, name: str, password_of: str, attributes: tuple[str, ...]) -> Text:
    """A role of another name than ours may have users of its own: made when missing, its password is never changed."""
    password = scene.secret(password_of)
    # the salt comes from the password, so that planning again gives the same statement
    salt = hmac.digest(password.value.encode(), f"pgpanel salt {name}".encode(), "sha256")[: passwords.SALT_BYTES]
    verifier = passwords.verifier(name, password, scene.version, salt=salt)
    if name.startswith(OURS):
        return postgres.role_sql(name, verifier, scene.version, attributes=attributes)
    exists = f"EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {postgres.literal(name)})"  # noqa: S608
    create = f"DO $make$ BEGIN IF NOT {exists} THEN CREATE ROLE {postgres.identifier(name)} PASSWORD '"
    return (QUIET, create, verifier, f"'; END IF; END $make$;\nALTER ROLE {postgres.identifier(name)} {' '.join(attributes)};\n")


QUIET = "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';\n"


def _without_password(name: str, attributes: tuple[str, ...]) -> str:
    exists = f"EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {postgres.literal(name)})"  # noqa: S608
    role = postgres.identifier(name)
    return (
        f"DO $make$ BEGIN IF NOT {exists} THEN CREATE ROLE {role}; END IF; END $make$;\nALTER ROLE {role} {' '.join(attributes)};\n"
    )


def _fingerprints(scene: Scene, params: SetupParams) -> str:
    """Says nothing about a password to who does not know it."""
    replication = "trust" if params.trust else _fingerprint(params.replication_role, scene.secret("replication_password"))
    monitoring = _fingerprint(params.monitoring_role, scene.secret("monitoring_password"))
    return f"{params.replication_role} {replication}\n{params.monitoring_role} {monitoring}\n"


def _fingerprint(role: str, password: Secret) -> str:
    return hmac.new(password.value.encode(), f"pgpanel role {role}".encode(), "sha256").hexdigest()[:32]


def _monitoring_rights(version: Version, role: str) -> str:
    """pg_monitor from 10; before, a plain role sees only pids, so it gets functions that look for it."""
    if version.has_pg_monitor:
        return f"GRANT pg_monitor TO {role};\n"
    views = ["pg_stat_replication", *(["pg_stat_wal_receiver"] if version.has_stat_wal_receiver else [])]
    functions = [(view.removeprefix("pg_"), f"SETOF pg_catalog.{view}", f"SELECT * FROM pg_catalog.{view}") for view in views]  # noqa: S608
    status = f"pg_catalog.pg_ls_dir('{version.wal_directory_name}/archive_status')"
    functions.append(("archive_ready_count", "bigint", f"SELECT count(*) FROM {status} AS f(name) WHERE name LIKE '%.ready'"))  # noqa: S608
    lines = [
        "DO $make$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'pgpanel') THEN CREATE SCHEMA pgpanel; END IF;"
        " END $make$;"
    ]
    for name, returns, body in functions:
        lines += [
            f"CREATE OR REPLACE FUNCTION pgpanel.{name}() RETURNS {returns} LANGUAGE sql SECURITY DEFINER"
            f" SET search_path = pg_catalog AS $body${body}$body$;",
            f"REVOKE ALL ON FUNCTION pgpanel.{name}() FROM PUBLIC; GRANT EXECUTE ON FUNCTION pgpanel.{name}() TO {role};",
        ]
    return "\n".join((*lines, f"GRANT USAGE ON SCHEMA pgpanel TO {role};\n"))
