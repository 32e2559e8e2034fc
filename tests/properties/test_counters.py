"""Whatever happens to the events, the profile is what a recount says and scores as scikit-learn does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.plpython.contract import Contract
from rescore.plpython.design import design_row
from rescore.plpython.prediction import score as sklearn_score
from rescore.tests.properties.sequences import SOURCE as SEQUENCES
from rescore.tests.properties.shop import (
    HALF_LIVES,
    TABLES,
    Near,
    definition,
    faded,
    recount,
    same,
)
from rescore.tests.properties.steps import EVENTS, agos, run, step
from rescore.tests.support import examples
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Events:
    """All events of a moment, and whose subscription is whose."""

    rows: dict[str, list[dict[str, Any]]]
    owners: dict[str, int]

    def counted(self, key: int, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the recount of a customer: what holds until the next event, what for a time."""
        return recount(
            [r for r in self.rows["orders"] if r["customer_id"] == key],
            [r for r in self.rows["complaints"] if r["client_no"] == key],
            [r for r in self.rows["invoices"] if self.owners.get(r["subscription_id"]) == key],
            now,
        )


def events_of(cur: psycopg.Cursor[Any]) -> Events:
    found = {t: cur.execute(f"SELECT * FROM {t}".encode()).fetchall() for t in EVENTS}
    owned = cur.execute("SELECT * FROM subscriptions").fetchall()
    return Events(found, {s["subscription_id"]: s["customer_id"] for s in owned})


def check(conn: Connection, shop: Shop, removed: bool, ago: timedelta, swept: bool) -> None:
    """Compare the profile with the recount in Python, with rescore.verify, and with scikit-learn."""
    with conn.cursor(row_factory=dict_row) as cur:
        rows = {r["customer_id"]: r for r in cur.execute("SELECT * FROM customer_profile")}
        events = events_of(cur)
        now = cur.execute("SELECT rescore.clock() AS now").fetchone()["now"]  # type: ignore[index]
        for key, row in rows.items():
            check_row(row, live_row(cur, key), *events.counted(key, now), now)
            check_score(row, shop)
            check_live_score(cur, row, shop, now, swept)
        check_past(cur, events, list(rows), shop, now, keyed=True)
        check_past(cur, events, list(rows), shop, now - ago, keyed=False)
    differences = conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall()
    assert differences == []
    wanted = {r["customer_id"] for r in events.rows["orders"]}
    wanted |= {r["client_no"] for r in events.rows["complaints"]}
    missing = wanted - {None} - set(rows)
    assert removed or not missing, missing


def check_row(
    row: dict[str, Any],
    live: dict[str, Any],
    lasting: dict[str, Any],
    passing: dict[str, Any],
    now: datetime,
) -> None:
    """What is stored is what was counted, as far as it still holds; what is live is all of it."""
    holding = {c: v for c, v in lasting.items() if all_hold(row, c, now, "next")}
    holding |= {c: v for c, v in passing.items() if all_hold(row, c, now, "next", "until")}
    for found, counted in ((row, holding), (live, lasting | passing)):
        for column, value in counted.items():
            assert same(found[column], value), (column, found[column], value)


def check_live_score(
    cur: psycopg.Cursor[Any], row: dict[str, Any], shop: Shop, now: datetime, swept: bool
) -> None:
    """The score by key is what the estimator says of the row as it is now, and what a sweep stores."""
    key = row["customer_id"]
    asked = cur.execute("SELECT rescore.predict_key('churn', %s::bigint) AS score", [key])
    score = asked.fetchone()["score"]  # type: ignore[index]
    check_score(live_row(cur, key) | {"churn_score": score, "churn_score_at": now}, shop)
    if swept:
        assert row["churn_score"] == (score and pytest.approx(score, rel=1e-9, abs=1e-9))


def check_past(
    cur: psycopg.Cursor[Any],
    events: Events,
    keys: list[int],
    shop: Shop,
    moment: datetime,
    keyed: bool,
) -> None:
    """What the events said at a moment is what they say if counted then."""
    asked = "SELECT * FROM rescore_compiled.customer_profile__as_of(%s, %s)"
    given = keys if keyed else None
    found = {r["rescore_key"]: r for r in cur.execute(asked, [moment, given])}
    assert set(found) <= set(keys)
    for key in keys:
        lasting, passing = events.counted(key, moment)
        if key not in found:
            assert not keyed and lasting["orders"] == lasting["invoices"] == lasting["severe"] == 0
            continue
        values = inputs_of(lasting | passing, shop.contract, moment)
        for name, value in values.items():
            assert same(found[key][name], value), (key, moment, name, found[key][name], value)


def live_row(cur: psycopg.Cursor[Any], key: int) -> dict[str, Any]:
    """The row as it is now, whatever is stored."""
    found = cur.execute("SELECT * FROM rescore_compiled.customer_profile__live(%s)", [key])
    return found.fetchone()  # type: ignore[return-value]


def holds(row: dict[str, Any], column: str, now: datetime, *limits: str) -> bool:
    """Whether a stored value is still what it says it is."""
    limit = [row.get(f"{SOURCE.get(column, 'orders')}__{name}") for name in limits]
    return all(at is None or at > now for at in limit)


ENDS = ("", "__at", "__mean", "__weight")


def all_hold(row: dict[str, Any], column: str, now: datetime, *limits: str) -> bool:
    """Whether everything that a stored value is computed from is still what it says it is."""
    return all(holds(row, part, now, *limits) for part in PARTS.get(column, (column,)))


PARTS = {
    "billed_share": ("invoiced", "spend"),
    "woes": ("worst", "severe_5d", "biggest"),
}
SOURCE = {"severe": "complaints", "worst": "complaints", "severe_5d": "complaints"} | dict.fromkeys(
    ("invoiced", "invoices", "last_invoice__at", "invoiced_4d"), "invoices"
)
SOURCE |= {
    f"{name}{end}": "invoices" for name in ("invoice_rate", "invoice_unrest") for end in ENDS
}
SOURCE |= SEQUENCES
SOURCE |= {f"severity{end}": "complaints" for end in ENDS}


def check_score(row: dict[str, Any], shop: Shop) -> None:
    """The stored score is what the estimator says of the row."""
    if row["status"] != "active":
        assert row["churn_score"] is None
        return
    values = inputs_of(row, shop.contract, row["churn_score_at"])
    values |= {"quiet": quiet(row), "renews_in": row["renews_at"]}
    numbers = design_row(shop.contract, values, row["churn_score_at"])
    expected = sklearn_score(shop.estimator, np.array([numbers]))[0]
    assert row["churn_score"] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def inputs_of(row: dict[str, Any], contract: Contract, at: datetime) -> dict[str, Any]:
    """Return what a model is given of a row at a moment, as far as that is in a column."""
    columns = {i.name: f"{i.name}__at" if i.name in SINCE else i.name for i in contract.inputs}
    values = {name: row[c] for name, c in columns.items() if c in row}
    for name, half_life in HALF_LIVES.items():
        values[name] = Near(values[name] * faded(row[f"{name}__at"], at, half_life))
    return values


SINCE = ("days_since_order", "tenure", "last_invoice")


def quiet(row: dict[str, Any]) -> float | None:
    """The one feature that depends on the clock and a plain column: it has no column."""
    last, now = row["days_since_order__at"], row["churn_score_at"]
    if last is None:
        return None
    age = 40 if row["age"] is None else row["age"]
    days = max(now - last, timedelta()) / timedelta(days=1)
    return math.sqrt(days) - float(age * row["trend"]) / 100


def make_estimator(linear: bool, columns: int) -> Any:
    """A fitted estimator with weights of a size that leaves the scores distinct."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, columns)) * 20
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    if not linear:
        return GaussianNB().fit(x, y)
    made = make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", alpha=0.5, random_state=0)
    )
    return made.fit(x, y)


@dataclass(frozen=True)
class Shop:
    """The published estimator, and what it is given."""

    estimator: Any
    contract: Contract


@contextmanager
def opened(dsn: str, trigger: str, linear: bool) -> Iterator[tuple[Connection, Shop]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        conn.execute(TABLES.encode())
        apply(conn, parse(definition(trigger)))
        conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
        inputs = conn.execute("SELECT inputs FROM rescore.deployments").fetchone()[0]  # type: ignore[index]
        contract = Contract.from_json({"inputs": inputs})
        estimator = make_estimator(linear, len(contract.columns()))
        publish(estimator, model="churn", conn=conn)
        yield conn, Shop(estimator, contract)


def clean(conn: Connection) -> None:
    conn.execute(
        "TRUNCATE orders, complaints, invoices, subscriptions, customer_profile RESTART IDENTITY"
    )
    conn.execute("TRUNCATE rescore.removed_keys")


@pytest.mark.parametrize("trigger", ["statement", "row"])
@pytest.mark.parametrize(
    ("database", "linear"),
    [
        pytest.param("dsn", True, id="compiled"),
        pytest.param("plain_dsn", True, id="compiled without PL/Python"),
        pytest.param("dsn", False, id="python", marks=pytest.mark.long),
    ],
)
def test_profile_equals_recount(
    request: pytest.FixtureRequest, trigger: str, database: str, linear: bool
) -> None:
    with opened(request.getfixturevalue(database), trigger, linear) as (conn, shop):

        @settings(max_examples=examples(10 if linear else 4))
        @given(st.lists(step, min_size=1, max_size=12), agos)
        def holds(steps: list[tuple[Any, ...]], ago: timedelta) -> None:
            clean(conn)
            conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
            removed = False
            for one in steps:
                run(conn, one)
                removed |= "remove" in repr(one)
                check(conn, shop, removed, ago, swept=one[0] == "sweep")

        holds()
        assert conn.execute("SELECT count(*) FROM rescore.incident_log").fetchone() == (0,)


def queued(conn: Connection, shop: Shop, removed: bool, ago: timedelta) -> None:
    """Nothing that waits is hidden; once it is folded, everything holds."""
    assert conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    check_live(conn)
    conn.execute("CALL rescore.fold('customer_profile', 3)")
    assert conn.execute("SELECT count(*) FROM rescore.queue").fetchone() == (0,)
    check(conn, shop, removed, ago, swept=False)


def check_live(conn: Connection) -> None:
    """What a customer's row says live, whatever still waits, is what it says once it is counted."""
    live = "SELECT to_jsonb(l) FROM rescore_compiled.customer_profile__live(p.customer_id) AS l"
    query = f"SELECT p.customer_id, p.orders, ({live}) ->> 'orders' FROM customer_profile AS p"
    counted = dict(
        conn.execute(
            "SELECT customer_id, count(*) FROM orders"
            " WHERE isfinite(ordered_at) AND ordered_at <= rescore.clock() GROUP BY 1"
        ).fetchall()
    )
    for key, _, orders in conn.execute(query.encode()):
        assert int(orders) == counted.get(key, 0)


@pytest.mark.parametrize(("trigger", "linear"), [("statement", True), ("row", False)])
def test_queued_events_are_counted_exactly_once(dsn: str, trigger: str, linear: bool) -> None:
    with opened(dsn, f"{trigger}, mode: queued", linear) as (conn, shop):

        @settings(max_examples=examples(6 if linear else 3))
        @given(st.lists(step, min_size=1, max_size=12), agos)
        def holds(steps: list[tuple[Any, ...]], ago: timedelta) -> None:
            clean(conn)
            conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
            removed = False
            for one in steps:
                run(conn, one)
                removed |= "remove" in repr(one)
                if one[0] in ("clock", "truncate", "remove", "link", "rollback"):
                    queued(conn, shop, removed, ago)
            queued(conn, shop, removed, ago)

        holds()
        assert conn.execute("SELECT count(*) FROM rescore.incident_log").fetchone() == (0,)
