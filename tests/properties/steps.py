"""What happens in the shop of the property tests: random events and changes, and how each is done."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import strategies as st

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
agos = st.integers(-2500, 20_000).map(lambda n: timedelta(minutes=n))
clock = st.tuples(st.just("clock"), st.integers(1, 2500).map(lambda n: timedelta(minutes=n)))
sweep = st.just(("sweep",))
step = st.one_of(
    simple,
    clock,
    sweep,
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
    if kind == "sweep":
        conn.execute("CALL rescore.sweep('customer_profile')")
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
