"""Databases that are made once and cloned for each test that wants the same.

To apply a definition and to publish a version takes seconds, of which most is to load
scikit-learn into the server's session; a clone takes a tenth of one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Connection = psycopg.Connection[Any]

SUPERUSER = "rescore"
_made: dict[Hashable, str] = {}


def make(dsn: str, what: Hashable, build: Callable[[Connection], None]) -> None:
    """Put in place of a test's database one in which something was built.

    Connections to it are ended: that of fixture ``db`` is of no use afterwards.

    Parameters
    ----------
    dsn: of fixture ``dsn`` or ``plain_dsn``, whose databases have templates called after them.
    what: names what is built; the same is built once for each of them.
    build: called with an autocommitting connection to a clone of that template.
    """
    given = conninfo_to_dict(dsn)
    name, role = str(given["dbname"]), str(given["user"])
    administration = make_conninfo(dsn, dbname="postgres", user=SUPERUSER)
    with psycopg.connect(administration, autocommit=True) as server:
        key = given.get("host"), given.get("port"), name, what
        if key not in _made:
            found = f"made_{len(_made)}"
            _clone(server, found, f"{name}_tmpl", role)
            with psycopg.connect(make_conninfo(dsn, dbname=found), autocommit=True) as conn:
                build(conn)
            _made[key] = found
        _clone(server, name, _made[key], role)


def _clone(server: Connection, name: str, template: str, owner: str) -> None:
    """Put a clone in place of a database, or of what a build that failed has left of one."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    server.execute(drop.format(sql.Identifier(name)))
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
    server.execute(create.format(*map(sql.Identifier, (name, template, owner))))
