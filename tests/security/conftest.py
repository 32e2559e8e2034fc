"""A shop whose owner is no superuser, people with one role each, and a database of it per test.

===============  ============================================================================
``stage``        its address: connections as any of the people below, each autocommitting
``app_owner``    owns schema ``shop``, its tables and the profile table; nothing else
``app``          the application: INSERT on the event tables
``viewer``       member of ``rescore_reader``; may read the profile table
``learner``      member of ``rescore_trainer``; may read the profile and event tables
``chief``        member of ``rescore_admin`` and of ``app_owner``
``stranger``     may connect
===============  ============================================================================

A superuser, ``rescore``, has installed rescore, applied the definition and published a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.tests.support import define, publish

Connection = psycopg.Connection[Any]

HERE = Path(__file__).parent
PEOPLE = ("app_owner", "app", "viewer", "learner", "chief", "stranger")
DEFINITION = """
profile:
  table: shop.customers
  key: {name: customer_id, type: bigint}
  only: "plan <> 'internal'"
  history: {plan: static}
links:
  session: {table: shop.sessions, on: session_id, gives: customer_id}
events:
  orders: {table: shop.orders, time: ordered_at}
  clicks: {table: shop.clicks, time: at, via: session}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount, where: "kind <> 'gift'"}
  biggest: {from: orders, max: amount}
  last_kind: {from: orders, last: kind, one_hot: [web, store]}
  clicks: {from: clicks, count: true}
  recent: {from: orders, count: true, window: 30 days}
  plan: {column: plan, one_hot: [basic, pro]}
labels:
  churned: {none: orders, within: 60 days}
models: {churn: {label: churned, features: all}}
scores:
  churn_score: {model: churn, outbox: {moved_by: 0.01}}
"""


@dataclass
class Stage:
    """A database with the shop in it."""

    dsn: str
    open: ExitStack = field(default_factory=ExitStack)

    def connect(self, user: str = "rescore") -> Connection:
        """A new connection as one of the people; the superuser's by default."""
        made = psycopg.connect(make_conninfo(self.dsn, user=user), autocommit=True)
        return self.open.enter_context(made)


@pytest.fixture(scope="session")
def people(full_template: Any) -> Iterator[None]:
    """The people, on the server of this run."""
    with _server(full_template) as conn:
        for name in PEOPLE:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        conn.execute("GRANT rescore_reader TO viewer")
        conn.execute("GRANT rescore_trainer TO learner")
        conn.execute("GRANT rescore_admin, app_owner TO chief")
        yield
        for name in PEOPLE:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def staged(people: None, full_template: Any) -> Iterator[str]:
    """Name of the database that each stage is a clone of."""
    with _server(full_template) as conn:
        _clone(conn, "stage", full_template.template_dbname)
        with psycopg.connect(_dsn(full_template, "stage"), autocommit=True) as built:
            _build(built)
        yield "stage"
        conn.execute("DROP DATABASE stage WITH (FORCE)")


def _build(conn: Connection) -> None:
    conn.execute((HERE / "shop.sql").read_bytes())
    define(conn, DEFINITION)
    publish(conn)
    conn.execute("CALL rescore.sweep('shop.customers', '0')")
    conn.execute("GRANT SELECT ON shop.customers TO viewer, learner")
    conn.execute("GRANT SELECT ON shop.orders, shop.clicks, shop.sessions TO learner")


_numbers = count()


@pytest.fixture
def stage(staged: str, full_template: Any) -> Iterator[Stage]:
    """A shop of the test's own."""
    name = f"stage_{next(_numbers)}"
    with _server(full_template) as conn:
        _clone(conn, name, staged)
        made = Stage(_dsn(full_template, name))
        with made.open:
            yield made
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def fresh(people: None, full_template: Any) -> Callable[[], AbstractContextManager[Connection]]:
    """Opens a database with rescore and nothing else in it; dropped when it is closed."""

    @contextmanager
    def opened() -> Iterator[Connection]:
        name = f"fresh_{next(_numbers)}"
        with _server(full_template) as server:
            _clone(server, name, full_template.template_dbname)
            with psycopg.connect(_dsn(full_template, name), autocommit=True) as conn:
                yield conn
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    return opened


def _server(template: Any) -> Connection:
    return psycopg.connect(_dsn(template, "postgres"), autocommit=True)


def _dsn(template: Any, dbname: str) -> str:
    return make_conninfo(host=template.host, port=template.port, user=template.user, dbname=dbname)


def _clone(conn: Connection, name: str, template: str) -> None:
    names = sql.Identifier(name), sql.Identifier(template)
    conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
