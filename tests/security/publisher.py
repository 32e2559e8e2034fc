"""Somebody who may publish and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Connection = psycopg.Connection[Any]


@contextmanager
def publisher(superuser: Connection, dsn: str) -> Iterator[Connection]:
    """A connection as a member of ``rescore_trainer``, who is removed afterwards."""
    name = f"publisher_{superuser.info.dbname}"
    role = sql.Identifier(name)
    superuser.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE rescore_trainer").format(role))
    try:
        with psycopg.connect(make_conninfo(dsn, user=name), autocommit=True) as conn:
            yield conn
    finally:
        superuser.execute(sql.SQL("DROP ROLE {}").format(role))
