"""A registry at work: a steady trickle of writes, by a client that knows nothing of the panel.

`python -m lab.trickle CONNINFO [WRITES_PER_SECOND]`; follows the primary through a multi-host connection string.
"""

from __future__ import annotations

import signal
import sys
import time

import psycopg2

RECONNECT_SECONDS = 0.25
CREATE = """
    INSERT INTO domain (name, registrar_id, registrant_id, host_ids, created, expires)
    SELECT 'new-' || nextval('domain_id_seq') || '-' || %(number)s || '.example', %(number)s %% 12 + 1, 1, '{1,2}',
        now(), now() + interval '1 year' RETURNING name, registrar_id"""
RENEW = """
    UPDATE domain SET expires = expires + interval '1 year'
    WHERE id = (SELECT 1 + %(number)s %% max(id) FROM domain) RETURNING name, registrar_id"""
LOG = "INSERT INTO transaction_log (registrar_id, command, domain) VALUES (%s, %s, %s)"


def trickle(conninfo: str, writes_per_second: float) -> None:
    """Until SIGTERM. What goes wrong is said once on stdout, then tried again."""
    number, said = 0, ""
    while True:
        try:
            connection = psycopg2.connect(conninfo)
            while True:
                number += 1
                _write(connection, number)
                time.sleep(1 / writes_per_second)
        except psycopg2.Error as error:
            if str(error) != said:
                said = str(error)
                print(said.strip())
            time.sleep(RECONNECT_SECONDS)


def _write(connection: psycopg2.extensions.connection, number: int) -> None:
    """One in five is a new domain, the others are renewals."""
    command, query = ("domain:create", CREATE) if number % 5 == 0 else ("domain:renew", RENEW)
    with connection, connection.cursor() as cursor:
        cursor.execute(query, {"number": number})
        for name, registrar_id in cursor.fetchall():
            cursor.execute(LOG, (registrar_id, command, name))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    trickle(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20)
