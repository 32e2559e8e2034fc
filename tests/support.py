"""What several tests need: a definition applied, a model published, the catalogue as text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
import psycopg
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.compiler.difference import Plan
from rescore.plpython.contract import Contract
from rescore.tests import clones
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]


def examples(usual: int) -> int:
    """Return how many examples a property test runs: `RESCORE_EXAMPLES`, where that is set."""
    return int(os.environ.get("RESCORE_EXAMPLES") or usual)


def one(conn: Connection, query: str, *given: Any) -> Any:
    """Return the only value of the only row."""
    row = conn.execute(query.encode(), given or None).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def define(conn: Connection, text: str, **options: Any) -> Plan:
    """Apply a definition written as YAML."""
    return apply(conn, parse(text), **options)


def contract_of(conn: Connection, model: str = "churn") -> Contract:
    """Return the contract a model's definition asks for (categories listed, not counted)."""
    inputs = one(conn, "SELECT inputs FROM rescore.deployments WHERE model = %s", model)
    return Contract.from_json({"inputs": [i for i in inputs if "retired" not in i]})


def linear_pipeline(columns: int, seed: int = 7) -> Any:
    """Return a fitted, scaled logistic model whose scores are well apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, columns)) * 20
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    made = make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", alpha=0.5, random_state=seed)
    )
    return made.fit(x, y)


def pickled(estimator: Any) -> bytes:
    """Return the joblib file of an estimator."""
    raw = io.BytesIO()
    joblib.dump(estimator, raw)
    return raw.getvalue()


def publish(conn: Connection, model: str = "churn", seed: int = 7) -> int:
    """Publish a linear model for this model's inputs and return its version.

    By PL/Python where the database has it, folded and proven here where it has not.
    """
    estimator = linear_pipeline(len(contract_of(conn, model).columns()), seed)
    return publish_estimator(estimator, model=model, conn=conn)


@contextmanager
def open_profile(
    dsn: str, tables: str, definition: str, *, serving: bool = True
) -> Iterator[Connection]:
    """Yield a connection, autocommitting, to a database with these tables and this definition.

    Parameters
    ----------
    tables: SQL that makes them.
    serving: whether a version of model ``churn`` serves.
    """

    def build(conn: Connection) -> None:
        conn.execute(tables.encode())
        define(conn, definition)
        if serving:
            publish(conn)

    clones.make(dsn, (tables, definition, serving), build)
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def catalogue(conn: Connection) -> list[Any]:
    """Return all functions, triggers, columns and constraints of the user's and rescore's schemas."""
    return conn.execute(CATALOGUE).fetchall()


CATALOGUE = b"""
SELECT 'function', p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid) || COALESCE(obj_description(p.oid), '')
       || COALESCE(p.proacl::text, ''))
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname ~ '^(rescore|public)' AND p.prokind IN ('f', 'p')
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger AS t WHERE NOT t.tgisinternal
UNION ALL
SELECT 'column', a.attrelid::regclass::text, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname ~ '^(rescore|public)' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', k.conrelid::regclass::text, k.conname || ' ' || pg_get_constraintdef(k.oid) FROM pg_constraint AS k
JOIN pg_namespace AS n ON n.oid = k.connamespace WHERE n.nspname ~ '^(rescore|public)'
UNION ALL
SELECT 'row', 'rescore.profiles', to_jsonb(p)::text FROM rescore.profiles AS p
UNION ALL
SELECT 'row', 'rescore.deployments', to_jsonb(d)::text FROM rescore.deployments AS d
ORDER BY 1, 2, 3
"""
