"""Whatever happens to the events, the profile is what a recount says and scores as scikit-learn does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
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
    definition,
    faded,
    recount,
    same,
)
from rescore.trainer.publish import publish

NOON = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
Connection = psycopg.Connection[Any]

customers = st.one_of(st.none(), st.integers(1, 4))
instants = st.one_of(
    st.none(),
    st.integers(0, 6).map(lambda n: NOON - timedelta(days=n)),
    st.integers(0, 10**9).map(lambda n: NOON - timedelta(microseconds=n * 1000)),
    st.integers(0, 60).map(lambda n: NOON + timedelta(hours=n)),
)
amounts = st.one_of(st.none(), st.decimals(-1000, 1000, places=2), st.just(Decimal("NaN")))
weights = st.one_of(
    st.none(),
    st.floats(-1000, 1000).map(lambda x: round(x, 3)),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -1e300]),
)
channels = st.one_of(st.none(), st.sampled_from(["web", "store", "phone", "fax", "", "Ärger"]))
orders = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "ordered_at": instants,
        "amount": amounts,
        "weight": weights,
        "qty": st.one_of(st.none(), st.integers(-5, 5)),
        "channel": channels,
    }
)
complaints = st.fixed_dictionaries(
    {
        "client_no": customers,
        "created_at": instants.map(lambda t: t and t.replace(tzinfo=None)),
        "severity": st.one_of(st.none(), st.integers(1, 5)),
    }
)
invoices = st.fixed_dictionaries(
    {
        "subscription_id": st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
        "issued_at": st.one_of(st.none(), st.integers(0, 9).map(lambda n: date(2024, 2, 1 + n))),
        "total": st.one_of(st.none(), st.decimals(-100, 100, places=4)),
    }
)
EVENTS = {"orders": orders, "complaints": complaints, "invoices": invoices}
some = st.integers(0, 7)


@st.composite
def insert(draw: Any) -> tuple[Any, ...]:
    table = draw(st.sampled_from(list(EVENTS)))
    way = draw(st.sampled_from(["single", "many", "copy"]))
    rows = draw(st.lists(EVENTS[table], min_size=1, max_size=1 if way == "single" else 6))
    return ("insert", table, way, rows)


@st.composite
def update(draw: Any) -> tuple[Any, ...]:
    table = draw(st.sampled_from(list(EVENTS)))
    column = draw(st.sampled_from(["all", "key", "value", "remark"]))
    return ("update", table, column, draw(EVENTS[table]), draw(some))


delete = st.tuples(st.just("delete"), st.sampled_from(list(EVENTS)), some)
truncate = st.tuples(st.just("truncate"), st.sampled_from(list(EVENTS)))
link = st.tuples(
    st.sampled_from(["link", "unlink"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 4)
)
profile = st.one_of(
    st.tuples(st.just("profile"), st.integers(1, 4), st.sampled_from(["basic", "pro", "x", None])),
    st.tuples(st.just("status"), st.integers(1, 4), st.sampled_from(["active", "gone"])),
    st.tuples(st.just("remove"), st.integers(1, 4)),
    st.tuples(st.just("add"), st.integers(1, 5), st.one_of(st.none(), st.integers(18, 90))),
)
simple = st.one_of(insert(), insert(), insert(), update(), delete, truncate, link, profile)
clock = st.tuples(st.just("clock"), st.integers(1, 2500).map(lambda n: timedelta(minutes=n)))
step = st.one_of(
    simple,
    clock,
    simple,
    simple,
    st.tuples(st.sampled_from(["rollback", "savepoint"]), st.lists(simple, max_size=3)),
)


def run(conn: Connection, step: tuple[Any, ...]) -> None:
    """Carry out one step; what the database refuses by its own constraints changes nothing."""
    kind = step[0]
    if kind in ("rollback", "savepoint"):
        with suppress(psycopg.Rollback), conn.transaction():
            with conn.transaction(force_rollback=kind == "savepoint"):
                for inner in step[1]:
                    run(conn, inner)
            if kind == "rollback":
                raise psycopg.Rollback
        return
    with suppress(psycopg.errors.UniqueViolation), conn.transaction():
        STEPS[kind](conn, *step[1:])


def do_clock(conn: Connection, on: timedelta) -> None:
    conn.execute("SELECT set_config('rescore.clock', (rescore.clock() + %s)::text, false)", [on])


def do_insert(conn: Connection, table: str, way: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    if way == "copy":
        with conn.cursor().copy(f"COPY {table} ({', '.join(names)}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row([row[n] for n in names])
        return
    marks = ", ".join("(" + ", ".join(["%s"] * len(names)) + ")" for _ in rows)
    values = [row[n] for row in rows for n in names]
    conn.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES {marks}".encode(), values)


KEYS = {"orders": "customer_id", "complaints": "client_no", "invoices": "subscription_id"}
IDS = {"orders": "order_id", "complaints": "id", "invoices": "id"}


def do_update(conn: Connection, table: str, what: str, row: dict[str, Any], which: int) -> None:
    if what == "remark":
        given = {"remark": "x"} if table == "orders" else {}
    elif what == "key":
        given = {KEYS[table]: row[KEYS[table]]}
    else:
        given = {k: v for k, v in row.items() if what == "all" or k != KEYS[table]}
    if given:
        sets = ", ".join(f"{c} = %s" for c in given)
        where = f"WHERE {IDS[table]} % 8 >= %s"
        conn.execute(
            f"UPDATE {table} SET {sets} {where.replace('%', '%%', 1)}".encode(),
            [*given.values(), which],
        )


def do_delete(conn: Connection, table: str, which: int) -> None:
    conn.execute(f"DELETE FROM {table} WHERE {IDS[table]} %% 8 = %s".encode(), [which])


def do_link(conn: Connection, subscription: str, customer: int) -> None:
    conn.execute(
        "INSERT INTO subscriptions VALUES (%s, %s)"
        " ON CONFLICT (subscription_id) DO UPDATE SET customer_id = excluded.customer_id",
        [subscription, customer],
    )


def do_add(conn: Connection, customer: int, age: int | None) -> None:
    conn.execute("INSERT INTO customer_profile (customer_id, age) VALUES (%s, %s)", [customer, age])


STEPS: dict[str, Any] = {
    "insert": do_insert,
    "update": do_update,
    "delete": do_delete,
    "truncate": lambda c, t: c.execute(f"TRUNCATE {t}".encode()),
    "link": do_link,
    "unlink": lambda c, s, _: c.execute(
        "DELETE FROM subscriptions WHERE subscription_id = %s", [s]
    ),
    "profile": lambda c, k, v: c.execute(
        "UPDATE customer_profile SET plan = %s WHERE customer_id = %s", [v, k]
    ),
    "status": lambda c, k, v: c.execute(
        "UPDATE customer_profile SET status = %s WHERE customer_id = %s", [v, k]
    ),
    "remove": lambda c, k: c.execute("DELETE FROM customer_profile WHERE customer_id = %s", [k]),
    "add": do_add,
    "clock": do_clock,
}


def check(conn: Connection, estimator: Any, removed: bool) -> None:
    """Compare the profile with the recount in Python, with rescore.verify, and with scikit-learn."""
    with conn.cursor(row_factory=dict_row) as cur:
        rows = {r["customer_id"]: r for r in cur.execute("SELECT * FROM customer_profile")}
        found = {t: cur.execute(f"SELECT * FROM {t}".encode()).fetchall() for t in EVENTS}
        owners = {
            s["subscription_id"]: s["customer_id"]
            for s in cur.execute("SELECT * FROM subscriptions")
        }
        contract = cur.execute(
            "SELECT contract FROM rescore.models WHERE version = (SELECT champion FROM rescore.deployments)"
        )
        contract_json = contract.fetchone()["contract"]  # type: ignore[index]
        live_rows = {k: live_row(cur, k) for k in rows}
        now = cur.execute("SELECT rescore.clock() AS now").fetchone()["now"]  # type: ignore[index]
    for key, row in rows.items():
        lasting, passing = recount(
            [r for r in found["orders"] if r["customer_id"] == key],
            [r for r in found["complaints"] if r["client_no"] == key],
            [r for r in found["invoices"] if owners.get(r["subscription_id"]) == key],
            now,
        )
        holding = {c: v for c, v in lasting.items() if all_hold(row, c, now, "next")}
        holding |= {c: v for c, v in passing.items() if all_hold(row, c, now, "next", "until")}
        for column, value in holding.items():
            assert same(row[column], value), (key, column, row[column], value)
        for column, value in {**lasting, **passing}.items():
            live = live_rows[key]
            assert same(live[column], value), (key, column, live[column], value)
        check_score(row, estimator, Contract.from_json(contract_json))
    differences = conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall()
    assert differences == []
    wanted = {r["customer_id"] for r in found["orders"]} | {
        r["client_no"] for r in found["complaints"]
    }
    missing = wanted - {None} - set(rows)
    assert removed or not missing, missing


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


def check_score(row: dict[str, Any], estimator: Any, contract: Contract) -> None:
    """The stored score is what the estimator says of the row."""
    if row["status"] != "active":
        assert row["churn_score"] is None
        return
    at = {"days_since_order", "tenure", "last_invoice"}
    columns = {i.name: f"{i.name}__at" if i.name in at else i.name for i in contract.inputs}
    columns |= COLUMNS
    values: dict[str, Any] = {
        name: row[c] if c in row else quiet(row) for name, c in columns.items()
    }
    for name, half_life in HALF_LIVES.items():
        values[name] *= faded(row[f"{name}__at"], row["churn_score_at"], half_life)
    numbers = design_row(contract, values, row["churn_score_at"])
    expected = sklearn_score(estimator, np.array([numbers]))[0]
    assert row["churn_score"] == pytest.approx(expected, rel=1e-9, abs=1e-9)


COLUMNS = {"renews_in": "renews_at"}


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


@contextmanager
def shop(dsn: str, trigger: str, linear: bool) -> Iterator[tuple[Connection, Any]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        conn.execute(TABLES.encode())
        apply(conn, parse(definition(trigger)))
        conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
        inputs = conn.execute("SELECT inputs FROM rescore.deployments").fetchone()[0]  # type: ignore[index]
        contract = Contract.from_json({"inputs": inputs})
        estimator = make_estimator(linear, len(contract.columns()))
        publish(estimator, model="churn", conn=conn)
        yield conn, estimator


def clean(conn: Connection) -> None:
    conn.execute(
        "TRUNCATE orders, complaints, invoices, subscriptions, customer_profile RESTART IDENTITY"
    )
    conn.execute("TRUNCATE rescore.removed_keys")


@pytest.mark.parametrize("trigger", ["statement", "row"])
@pytest.mark.parametrize(
    ("database", "linear"),
    [("dsn", True), ("plain_dsn", True), ("dsn", False)],
    ids=["compiled", "compiled without PL/Python", "python"],
)
def test_profile_equals_recount(
    request: pytest.FixtureRequest, trigger: str, database: str, linear: bool
) -> None:
    with shop(request.getfixturevalue(database), trigger, linear) as (conn, estimator):

        @settings(max_examples=40 if linear else 8)
        @given(st.lists(step, min_size=1, max_size=12))
        def holds(steps: list[tuple[Any, ...]]) -> None:
            clean(conn)
            conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
            removed = False
            for one in steps:
                run(conn, one)
                removed |= "remove" in repr(one)
                check(conn, estimator, removed)

        holds()
        assert conn.execute("SELECT count(*) FROM rescore.incident_log").fetchone() == (0,)


def queued(conn: Connection, estimator: Any, removed: bool) -> None:
    """Nothing that waits is hidden; once it is folded, everything holds."""
    assert conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    check_live(conn)
    conn.execute("CALL rescore.fold('customer_profile', 3)")
    assert conn.execute("SELECT count(*) FROM rescore.queue").fetchone() == (0,)
    check(conn, estimator, removed)


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
    with shop(dsn, f"{trigger}, mode: queued", linear) as (conn, estimator):

        @settings(max_examples=20 if linear else 4)
        @given(st.lists(step, min_size=1, max_size=12))
        def holds(steps: list[tuple[Any, ...]]) -> None:
            clean(conn)
            conn.execute("SET rescore.clock = '2024-03-02 00:00:00+00'")
            removed = False
            for one in steps:
                run(conn, one)
                removed |= "remove" in repr(one)
                if one[0] in ("clock", "truncate", "remove", "link", "rollback"):
                    queued(conn, estimator, removed)
            queued(conn, estimator, removed)

        holds()
        assert conn.execute("SELECT count(*) FROM rescore.incident_log").fetchone() == (0,)
