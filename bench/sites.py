"""One database a contender, all cloned from one in which rescore is installed."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import joblib
import numpy as np
import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.bench import shop
from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.plpython.contract import Contract
from rescore.server.libraries import python_path
from rescore.server.private import Server
from rescore.sql.install import install
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]
TEMPLATE = "bench_template"
MIXED = "rescore, mixed kinds"


@dataclass(frozen=True)
class Site:
    """A contender's database.

    Attributes
    ----------
    contender: ``bare``, ``counter``, ``tutorial``, ``worker``, ``worker by hand``, ``rescore``, or
        ``rescore, mixed kinds``: with windows and decay among its features.
    server: the private server.
    features, models, profiles, categories: how many.
    """

    contender: str
    server: Server
    features: int = 8
    models: int = 1
    profiles: int = 100_000
    categories: int = 0

    @property
    def name(self) -> str:
        """Name of the database."""
        numbers = (self.features, self.models, self.profiles, self.categories)
        return "_".join(["bench", re.sub("[^a-z]+", "_", self.contender), *map(str, numbers)])

    @property
    def dsn(self) -> str:
        """Connection string of the database."""
        return make_conninfo(self.server.dsn, dbname=self.name)

    @property
    def label(self) -> str:
        """The contender, and its models if it is rescore with several."""
        several = self.contender == "rescore" and self.models > 1
        return f"rescore, {self.models} models" if several else self.contender

    @property
    def mixed(self) -> bool:
        """Whether its features are of all kinds."""
        return self.contender == MIXED

    def connect(self) -> Connection:
        """Open a connection in autocommit mode."""
        return psycopg.connect(self.dsn, autocommit=True)

    def build(self) -> Site:
        """Make the database, its tables, triggers, profiles and models; return the site."""
        _create(self.server, self.name, TEMPLATE)
        with self.connect() as conn:
            _populate(conn, self)
        return self

    def drop(self) -> None:
        """Remove the database."""
        with psycopg.connect(self.server.dsn, autocommit=True) as conn:
            _drop(conn, self.name)


def make_template(server: Server) -> None:
    """Make the database the contenders are cloned from, with PL/Python and rescore."""
    _create(server, TEMPLATE, "template1")
    dsn = make_conninfo(server.dsn, dbname=TEMPLATE)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION plpython3u")
    install(dsn, python_path=python_path())


def _create(server: Server, name: str, template: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        _drop(conn, name)
        names = sql.Identifier(name), sql.Identifier(template)
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


def _drop(conn: Connection, name: str) -> None:
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _populate(conn: Connection, site: Site) -> None:
    ours = site.contender == "rescore" or site.mixed
    columns = shop.features(site.features - len(shop.MIXED) if site.mixed else site.features)
    given = {
        "features": columns,
        "categories": site.categories,
        "profiles": site.profiles,
        "by_hand": not ours,
    }
    conn.execute(shop.statement("shop.sql.j2", **given))
    if ours:
        _define(conn, site)
    elif site.contender == "counter":
        conn.execute(shop.statement("counter.sql.j2", **given))
    elif site.contender == "tutorial":
        add_tutorial(conn, site, trigger=True)
    _fill(conn, given)


def _fill(conn: Connection, given: dict[str, Any]) -> None:
    """Send statement by statement: VACUUM refuses to run in a string of several."""
    for text in shop.statement("fill.sql.j2", **given).split(b";\n"):
        if text.strip():
            conn.execute(text)


def _define(conn: Connection, site: Site) -> None:
    made = shop.definition(site.features, site.models, site.categories, mixed=site.mixed)
    apply(conn, parse(yaml.safe_dump(made, sort_keys=False)))
    for model in shop.MODELS[: site.models]:
        publish_linear(conn, model)


def publish_linear(conn: Connection, model: str, seed: int = 7) -> int:
    """Publish a logistic model of random weights for this model's inputs; return its version."""
    row = conn.execute("SELECT inputs FROM rescore.deployments WHERE model = %s", [model])
    found = row.fetchone() or [[]]
    columns = len(Contract.from_json({"inputs": found[0]}).columns())
    return publish(pipeline(columns, seed), model=model, conn=conn)


@cache
def pipeline(columns: int, seed: int = 7) -> Any:
    """Return a fitted StandardScaler and SGDClassifier over this many columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, columns)) * 20
    y = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    classifier = SGDClassifier(loss="log_loss", alpha=0.5, random_state=seed)
    return make_pipeline(StandardScaler(), classifier).fit(X, y)


def add_tutorial(conn: Connection, site: Site, *, trigger: bool) -> None:
    """Add the functions of the usual PL/Python tutorial, and its pickled model."""
    columns = shop.features(site.features)
    count = shop.statement("count.sql.j2", features=columns, given=("$1", "$2", "$3", "$4"))
    write = shop.statement("write.sql.j2", given=("$1", "$2"))
    given = {"count": repr(count.decode()), "write": repr(write.decode()), "trigger": trigger}
    conn.execute(shop.statement("tutorial.sql.j2", python_path=python_path(), **given))
    raw = io.BytesIO()
    joblib.dump(pipeline(site.features), raw)
    conn.execute("INSERT INTO artifacts VALUES ('churn', %s)", [raw.getvalue()])
