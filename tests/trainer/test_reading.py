"""What is read of snapshots is what stands in them, either way and however the table keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.tests.learning_shop import connected, shop, stream
from rescore.trainer.learning.hashing import shares
from rescore.trainer.loop.block import START, Block
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state

Connection = psycopg.Connection[Any]
DETACHED = """
ALTER TABLE rescore.snapshots DETACH PARTITION rescore.snapshots_rest;
CREATE TABLE other_order (gone int, hash bytea, design float8[] NOT NULL, treated_at timestamptz, holdout boolean,
                          score float8, gone_too text);
ALTER TABLE other_order DROP COLUMN gone, DROP COLUMN gone_too;
ALTER TABLE other_order ALTER COLUMN design SET STORAGE EXTERNAL, ALTER COLUMN hash SET STORAGE MAIN;
"""
OTHER_COLUMNS = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull FROM pg_attribute AS a
             WHERE a.attrelid = 'rescore.snapshots'::regclass AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attname NOT IN ('hash', 'design', 'treated_at', 'holdout', 'score')
             ORDER BY a.attnum DESC
    LOOP
        EXECUTE format('ALTER TABLE other_order ADD COLUMN %I %s %s', c.attname, c.type, CASE WHEN c.attnotnull THEN 'NOT NULL' END);
    END LOOP;
END $$;
ALTER TABLE other_order ADD COLUMN mine text;
ALTER TABLE other_order DROP COLUMN mine;
"""
ATTACHED = """
INSERT INTO other_order (id, model, key, taken_at, version, score, design, serving, holdout, treated_at, label, early, due_at,
                         resolved, resolved_at, censored, hash)
SELECT id, model, key, taken_at, version, CASE WHEN id % 3 > 0 THEN score END, design, serving,
       CASE id % 4 WHEN 0 THEN true WHEN 1 THEN false END, CASE id % 5 WHEN 0 THEN taken_at END, label, early, due_at,
       resolved, resolved_at, censored, CASE id % 2 WHEN 0 THEN rescore._hash('learn churn', key) END
FROM rescore.snapshots_rest;
ALTER TABLE other_order ADD CONSTRAINT snapshots_open_check CHECK (resolved IS NOT NULL OR (label IS NULL AND NOT censored)),
    ADD CONSTRAINT snapshots_serving_check CHECK (serving IN ('champion', 'challenger'));
ALTER TABLE rescore.snapshots ATTACH PARTITION other_order DEFAULT;
"""


def as_it_stands(conn: Connection, weighed: bool) -> dict[str, list[Any]]:
    rows = conn.execute(
        """SELECT id, resolved::text::bigint, extract(epoch FROM taken_at)::float8, label, coalesce(score, 'NaN'), coalesce(holdout, false),
                  treated_at IS NOT NULL, rescore.share('learn churn', key), design
           FROM rescore.snapshots WHERE treated_at IS NULL OR %s ORDER BY resolved, id""",
        [weighed],
    ).fetchall()
    names = ("ids", "xids", "taken", "labels", "scores", "holdout", "treated", "shares", "design")
    return {name: list(each) for name, each in zip(names, zip(*rows, strict=True), strict=True)}


def as_read(block: Block) -> dict[str, list[Any]]:
    found = {name: getattr(block, name).tolist() for name in vars(block)}
    return found | {"shares": shares(block.hashes).tolist()}


@pytest.mark.parametrize("packs", [True, False])
def test_a_partition_of_another_form_is_read_alike(dsn: str, packs: bool) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        shop(conn)
        stream(conn, 300)
        conn.execute((DETACHED + OTHER_COLUMNS + ATTACHED).encode())
        reader = Reader.of(conn, read_state(conn, "churn"))
        assert reader.order in ("<", ">")
        for share in (None, 0.5):
            expected = as_it_stands(conn, share is not None)
            if share is None:  # nobody asks for them
                expected |= {"scores": [np.nan] * 240, "treated": [False] * 240}
            found = as_read(replace(reader, packs=packs, held_out=share).past(START, 1000))
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, name)


@pytest.mark.parametrize("whole", [True, False])
def test_versions_are_looked_up_by_a_hash(dsn: str, whole: bool) -> None:
    # PostgreSQL goes through a list of another type for each example, however long it is.
    with connected(dsn) as conn:
        stream(conn, 10)
        versions = [*range(1, 300)]
        found = replace(Reader.of(conn, read_state(conn, "churn")), versions=versions)
        run = found._parts(found.order, 10, 1, whole).replace("$1", "'0'").replace("$2", "'0'")
        plan = conn.execute(f"EXPLAIN (VERBOSE) {run}".encode()).fetchall()
        listed = ",".join(map(str, versions))
        assert f"version = ANY ('{{{listed}}}'::integer[])" in str(plan).replace("\\", "")
