"""rescore is removed as the manual says, and installed again: nothing is left, nothing is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

import rescore.compiler
from rescore.errors import DoesNotFit
from rescore.sql.install import install
from rescore.tests.support import define, one, publish
from rescore.tests.test_pause import DEFINITION, SHOP
from rescore.trainer import operations as ops

MANUAL = Path(rescore.compiler.__file__).parents[1] / "docs" / "security.md"
UNINSTALL = MANUAL.read_text("utf-8").split("To uninstall")[1].split("```sql\n")[1].split("```")[0]
QUEUED = DEFINITION.replace(" MODE", ", mode: queued")
COLUMNS = """SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = 'customers'::regclass AND attnum > 0 AND NOT attisdropped"""


def live(conn: psycopg.Connection[Any]) -> None:
    define(conn, QUEUED)
    publish(conn)
    conn.execute(
        "INSERT INTO orders (customer_id, amount) SELECT i % 5, 1 FROM generate_series(1, 20) AS i"
    )
    ops.fold(conn, "customers", 100)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_removed_and_installed_again(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute(SHOP.encode())
        live(conn)
        assert len(one(conn, COLUMNS)) > 5
        conn.execute(UNINSTALL.encode())
        assert one(conn, COLUMNS) == ["customer_id", "age"]
        left = """SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),
                         (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rescore%%')"""
        assert one(conn, left.replace("%%", "%")) == (0, 0)
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 1), (80, 1)")
        install(plain_dsn)
        live(conn)
        counted = "SELECT sum(orders), count(*) FROM customers"
        assert one(conn, counted) == (one(conn, "SELECT count(*) FROM orders"), 6)


def test_columns_that_were_kept_are_not_overwritten(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute(SHOP.encode())
        live(conn)
        conn.execute("DROP SCHEMA rescore, rescore_compiled CASCADE")
        install(plain_dsn)
        with pytest.raises(DoesNotFit, match="already has a column") as caught:
            define(conn, QUEUED)
        assert "was removed left it behind" in caught.value.hint
