"""A profile and its model made by hand: these tests need no definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from rescore.plpython import artifact
from rescore.plpython.contract import Contract
from rescore.plpython.linear import LinearForm
from rescore.plpython.probes import CLOCK
from rescore.plpython.proof import Proof, prove

Connection = psycopg.Connection[Any]


def number(name: str, type_: str = "double precision", **options: Any) -> dict[str, Any]:
    """An input of kind number."""
    given = {"nullable": True, "bounded": False, "default": 0, "missing": False} | options
    return {"name": name, "type": type_, "kind": "number"} | given


def category(
    name: str, values: Sequence[str], type_: str = "text", **options: Any
) -> dict[str, Any]:
    """An input of kind category."""
    given = {"nullable": True, "other": False, "missing": False} | options
    return {"name": name, "type": type_, "kind": "category", "categories": list(values)} | given


def moment(name: str, kind: str = "days_since", **options: Any) -> dict[str, Any]:
    """An input of kind days_since or days_until."""
    given = {"nullable": True, "default": 0, "missing": False} | options
    return {"name": name, "type": "timestamp with time zone", "kind": kind} | given


SIMPLE = [
    number("orders", "bigint", nullable=False, bounded=True),
    number("spend", "numeric", default=3.5),
    category("channel", ["web", "store"]),
    moment("last_order"),
]

EVERY_KIND = [
    *SIMPLE,
    number("Heft €", missing=True),
    number("ratio", "real", default=-2),
    number("age", "integer", bounded=True, default=40, missing=True),
    number("price", "numeric(12,2)", bounded=True, default=1),
    number("is_new", "boolean", bounded=True, missing=True),
    category("plan", ["it's", "☂", '"'], other=True, missing=True),
    category("country", [f"c{i:03}" for i in range(60)], other=True, missing=True),
    category("region", [f"r{i}" for i in range(20)]),
    category("code", ["1", "2"], "integer", other=True),
    category("vip", ["true"], "boolean", missing=True),
    moment("renews_at", "days_until", default=30, missing=True),
]


@dataclass(frozen=True)
class Model:
    """A model of the hand-made profile."""

    conn: Connection
    name: str
    contract: Contract

    def publish(self, weights: Sequence[float], **given: Any) -> int:
        """Publish a linear model by its numbers, as a database without PL/Python takes them."""
        proof = proof_of(linear_artifact(weights), self.contract)
        return self.publish_proof(linear_artifact(weights), proof, **given)

    def publish_proof(self, data: bytes, proof: Proof, **given: Any) -> int:
        """Submit what a trainer has proven; `given` replaces arguments."""
        assert proof.linear is not None
        arguments = {
            "model": self.name,
            "artifact": data,
            "sha256": proof.sha256,
            "linear": Jsonb(proof.linear.to_json()),
            "contract": Jsonb(self.contract.to_json()),
            "probes": Jsonb(proof.probes),
            "expected": proof.expected,
        }
        return int(call(self.conn, "publish_linear", arguments | given))


def call(conn: Connection, function: str, arguments: Mapping[str, Any]) -> Any:
    """Call a function of schema rescore with named arguments."""
    pairs = [sql.SQL("{} => {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in arguments]
    query = sql.SQL("SELECT rescore.{}({})").format(
        sql.Identifier(function), sql.SQL(", ").join(pairs)
    )
    return value(conn, query, arguments)


def value(conn: Connection, query: Any, arguments: Any = None) -> Any:
    """Return the only column of the only row."""
    row = conn.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


def linear_artifact(weights: Sequence[float], intercept: float = 0.25) -> bytes:
    """A logistic regression with these weights."""
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression().fit(np.eye(2, len(weights)), [0, 1])
    made.coef_, made.intercept_ = np.array([weights]), np.array([intercept])
    return artifact.dump(made, "joblib")


def proof_of(data: bytes, contract: Contract) -> Proof:
    """Prove an artefact as the trainer does."""
    return prove(data, "joblib", contract)


def deploy(
    conn: Connection, inputs: list[dict[str, Any]], name: str = "churn", engine: str = "auto"
) -> Model:
    """Make the profile, if it is not there, and a model that takes these inputs."""
    conn.execute(
        """CREATE TABLE IF NOT EXISTS customer (
               id bigint PRIMARY KEY, orders bigint NOT NULL DEFAULT 0, spend numeric,
               channel text, last_order timestamptz)"""
    )
    conn.execute(
        """CREATE OR REPLACE FUNCTION rescore_compiled.customer__live(bigint) RETURNS customer
           LANGUAGE sql STABLE RETURN (SELECT p FROM customer AS p WHERE p.id = $1);
           COMMENT ON FUNCTION rescore_compiled.customer__live(bigint) IS 'The row as it is'"""
    )
    conn.execute(
        """INSERT INTO rescore.profiles (profile, table_schema, table_name, slug, key_column,
               key_type, clock, definition, source, digest, compiler_version, plan)
           VALUES ('customer', 'public', 'customer', 'customer', 'id', 'bigint', 'session',
                   '{}', '', '', '0', '{}') ON CONFLICT DO NOTHING"""
    )
    conn.execute(
        """INSERT INTO rescore.deployments (model, profile, inputs, engine)
           VALUES (%s, 'customer', %s, %s)
           ON CONFLICT (model) DO UPDATE SET inputs = excluded.inputs, engine = excluded.engine""",
        (name, Jsonb(inputs), engine),
    )
    conn.execute("SELECT rescore._create_router(%s)", (name,))
    contract = Contract.from_json({"inputs": inputs})
    return Model(conn, name, contract)


def over_probes(
    conn: Connection, model: Any, call: str, payloads: list[dict[str, Any]]
) -> list[Any]:
    """Evaluate a call over payloads cast to the inputs' types; `{}` stands for the arguments."""
    columns = ", ".join(f'"{i.name}" {i.type}' for i in model.contract.inputs)
    names = [i.name for i in model.contract.inputs]
    query = sql.SQL("SELECT {} FROM jsonb_to_recordset(%(rows)s) AS r ({})").format(
        sql.SQL(call).format(
            *(
                sql.SQL(", ").join(map(sql.Identifier, names[i : i + 90]))
                for i in range(0, len(names), 90)
            )
        ),
        sql.SQL(columns),
    )
    rows = conn.execute(query, {"rows": Jsonb(payloads), "clock": CLOCK}).fetchall()
    return [row[0] for row in rows]


def random_weights(contract: Contract, seed: int = 3) -> list[float]:
    """One weight for each column."""
    return [float(w) for w in np.random.default_rng(seed).normal(size=len(contract.columns()))]


def compile_(conn: Connection, model: Any, form: LinearForm) -> None:
    """Make the functions of version 77, which is nowhere recorded."""
    conn.execute(
        "SELECT rescore._compile(%s, 77, %s, %s)",
        (model.name, Jsonb(model.contract.to_json()), Jsonb(form.to_json())),
    )


def plan_of(conn: Connection, call: str) -> str:
    """The plan of a query for a call over the profile table."""
    rows = conn.execute(
        "EXPLAIN (VERBOSE, COSTS off) SELECT " + call + " FROM customer AS p"
    ).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.fixture
def conn(db: Connection) -> Connection:
    """The test's database, each statement its own transaction."""
    db.autocommit = True
    return db


@pytest.fixture
def model(conn: Connection) -> Model:
    """The model `churn` with few inputs; no version yet."""
    return deploy(conn, SIMPLE)


@pytest.fixture
def make(conn: Connection) -> Callable[..., Model]:
    """Make a model with other inputs."""

    def made(inputs: list[dict[str, Any]], name: str = "churn", engine: str = "auto") -> Model:
        return deploy(conn, inputs, name, engine)

    return made
