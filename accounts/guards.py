"""The database's own refusal to change or delete an audit entry, whoever asks: triggers on PostgreSQL and SQLite.

They hold against the panel's own faults and against a hand in its SQL shell. Whoever owns the database can take them off, as
`lifted` does for emptying a whole panel (`manage.py flush`, `panel restore --replace`): against such a person only an anchor
that is kept elsewhere helps (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "accounts_auditentry"
SAID = "the audit trail is append-only"
PLACE = {
    "postgresql": (
        f"""CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN RAISE EXCEPTION '{SAID}' USING ERRCODE = 'integrity_constraint_violation'; END$$""",
        f"CREATE TRIGGER {TABLE}_keep BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE PROCEDURE {TABLE}_refuse()",
        f"CREATE TRIGGER {TABLE}_keep_all BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE PROCEDURE {TABLE}_refuse()",
    ),
    "sqlite": tuple(
        f"CREATE TRIGGER {TABLE}_keep_{verb} BEFORE {verb} ON {TABLE} BEGIN SELECT RAISE(ABORT, '{SAID}'); END"
        for verb in ("UPDATE", "DELETE")
    ),
}
LIFT = {
    "postgresql": tuple(f"DROP TRIGGER IF EXISTS {TABLE}_{name} ON {TABLE}" for name in ("keep", "keep_all")),
    "sqlite": tuple(f"DROP TRIGGER IF EXISTS {TABLE}_keep_{verb}" for verb in ("UPDATE", "DELETE")),
}


def place(connection: BaseDatabaseWrapper) -> None:
    """Also after a migration that made the table anew, as SQLite's do."""
    _run(connection, (*LIFT.get(connection.vendor, ()), *PLACE.get(connection.vendor, ())))


def lift(connection: BaseDatabaseWrapper) -> None:
    _run(connection, LIFT.get(connection.vendor, ()))


@contextmanager
def lifted(connection: BaseDatabaseWrapper) -> Iterator[None]:
    if TABLE not in connection.introspection.table_names():
        yield
        return
    lift(connection)
    try:
        yield
    finally:
        place(connection)


def _run(connection: BaseDatabaseWrapper, statements: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
