"""Features computed from others: the same number everywhere, and no input that raises."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescore.compiler.computed_expression import number_sql
from rescore.compiler.definition import parse
from rescore.errors import RescoreError
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply
from rescore.tests.support import contract_of, define, one, publish

Connection = psycopg.Connection[Any]
Value = float | None

# --- What expressions mean, in plain Python ---------------------------------------------------


def capped(x: float) -> float:
    return max(-1e100, min(1e100, x))


def rounded(x: float, exponent: int) -> float:
    """The nearest multiple of a power of two."""
    unit = Fraction(1, 2**-exponent)
    return float(round(Fraction(x) / unit) * unit) if abs(x) < 2.0 ** (exponent + 50) else x


def flushed(x: float) -> float:
    return rounded(x, -531)


def decimal(x: float) -> Decimal:
    """A number to 15 digits, as PostgreSQL makes a numeric of a float8."""
    return Decimal(f"{flushed(x):.15g}")


def remainder(a: float, b: float) -> Value:
    with localcontext() as context:
        context.prec = 400
        return float(decimal(a) % decimal(b)) if flushed(b) else None


def to_digits(x: float, digits: int) -> float:
    with localcontext() as context:
        context.prec = 400
        return float(decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def power(a: float, b: float) -> Value:
    if a == 0:
        return 1.0 if b == 0 else 0.0 if b > 0 else None
    if a < 0 and b != math.floor(b):
        return None
    b = flushed(b)
    size = b * math.log(abs(a))
    if size < -368:
        return 0.0
    if size > 230.25850929940457:
        return -1e100 if a < 0 and b % 2 == 1 else 1e100
    return math.pow(a, b)


def quotient(a: float, b: float) -> Value:
    return capped(flushed(a) / flushed(b)) if flushed(b) else None


BINARY: dict[str, Callable[[float, float], Value]] = {
    "({} + {})": lambda a, b: capped(a + b),
    "({} - {})": lambda a, b: capped(a - b),
    "({} * {})": lambda a, b: capped(flushed(a) * flushed(b)),
    "({} / {})": quotient,
    "({} % {})": remainder,
    "mod({}, {})": remainder,
    "({} ^ {})": power,
    "power({}, {})": power,
    "nullif({}, {})": lambda a, b: None if a == b else a,
}
UNARY: dict[str, Callable[[float], Value]] = {
    "(- {})": lambda x: -x,
    "abs({})": abs,
    "sign({})": lambda x: float((x > 0) - (x < 0)),
    "sqrt({})": lambda x: math.sqrt(x) if x >= 0 else None,
    "cbrt({})": lambda x: math.copysign(math.exp(math.log(abs(x)) / 3), x) if x else 0.0,
    "ln({})": lambda x: math.log(x) if x > 0 else None,
    "log({})": lambda x: math.log10(x) if x > 0 else None,
    "exp({})": lambda x: capped(math.exp(max(-600, min(231, x)))),
    "floor({})": lambda x: float(math.floor(x)),
    "ceil({})": lambda x: float(math.ceil(x)),
    "trunc({})": lambda x: float(math.trunc(x)),
    "round({})": lambda x: float(round(x)),
    "round({}, 2)": lambda x: to_digits(x, 2),
    "round({}, -3)": lambda x: to_digits(x, -3),
}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
Env = dict[str, Value]
Node = tuple[str, Callable[[Env], Any]]


def binary(made: tuple[str, Node, Node]) -> Node:
    form, (left, f), (right, g) = made

    def value(env: Env) -> Value:
        a, b = f(env), g(env)
        if form.startswith("nullif"):
            return None if a is None or (b is not None and a == b) else a
        return None if a is None or b is None else BINARY[form](a, b)

    return form.format(left, right), value


def unary(made: tuple[str, Node]) -> Node:
    form, (inner, f) = made
    return form.format(inner), lambda env: None if (x := f(env)) is None else UNARY[form](x)


def several(made: tuple[str, list[Node]]) -> Node:
    word, parts = made

    def value(env: Env) -> Value:
        found = [x for _, f in parts if (x := f(env)) is not None]
        pick: Any = {"coalesce": lambda v: v[0], "greatest": max, "least": min}[word]
        return pick(found) if found else None

    return f"{word}({', '.join(p for p, _ in parts)})", value


def condition(made: tuple[str, Node, Node]) -> Node:
    symbol, (left, f), (right, g) = made

    def value(env: Env) -> bool | None:
        a, b = f(env), g(env)
        if symbol == "is distinct from":
            return bool(a != b)
        return None if a is None or b is None else COMPARE[symbol](a, b)

    return f"({left} {symbol} {right})", value


def case(made: tuple[Node, Node, Node]) -> Node:
    (test, c), (yes, f), (no, g) = made
    return f"CASE WHEN {test} THEN {yes} ELSE {no} END", lambda env: f(env) if c(env) else g(env)


def one_or_zero(made: Node) -> Node:
    text, c = made
    return (
        f"CASE WHEN NOT {text} THEN 0 WHEN {text} IS TRUE THEN 1 END",
        lambda env: None if (found := c(env)) is None else float(found),
    )


EDGES = [
    0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 3.0, 1e-9, 1e15, -7.25, 1e100, -1e100, 1e-100, -1e-100,
    1e99, 5e-324, -5e-324, 1e-160, 1e-200, 9007199254740993.0, 230.2, -370.0,
]  # fmt: skip
numbers = st.one_of(
    st.none(), st.sampled_from(EDGES), st.floats(-1e100, 1e100), st.integers(-50, 50).map(float)
)
leaves = st.one_of(
    st.sampled_from("abc").map(lambda n: (n, lambda env: env[n])),
    st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.5, 10.0, 1e50, 1e-50, 1e100]).map(
        lambda v: (repr(v), lambda env: v)
    ),
)


def deeper(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    test = st.tuples(st.sampled_from([*COMPARE, "is distinct from"]), inner, inner).map(condition)
    listed = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(list(BINARY)), inner, inner).map(binary),
        st.tuples(st.sampled_from(list(UNARY)), inner).map(unary),
        st.tuples(st.sampled_from(["coalesce", "greatest", "least"]), listed).map(several),
        st.tuples(test, inner, inner).map(case),
        test.map(one_or_zero),
    )


expressions = st.recursive(leaves, deeper, max_leaves=12)


def test_random_expressions_equal_python_and_never_raise(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:

        @settings(max_examples=200)
        @given(expressions, st.tuples(numbers, numbers, numbers))
        def agrees(node: Node, values: tuple[Value, Value, Value]) -> None:
            text, function = node
            sql = number_sql(text, lambda name: f"v.{name}")
            query = f"SELECT {sql} FROM (SELECT %s::float8, %s::float8, %s::float8 OFFSET 0) AS v (a, b, c)"
            found = conn.execute(query.replace("%", "%%").replace("%%s", "%s").encode(), values)
            got = found.fetchone()[0]  # type: ignore[index]
            expected = function(dict(zip("abc", values, strict=True)))
            assert (got is None) == (expected is None), (text, values, got, expected)
            if expected is not None:
                expected = rounded(expected, -332)
                assert math.isclose(got, expected, rel_tol=1e-9, abs_tol=2e-100), (
                    text, values, got, expected,
                )  # fmt: skip

        agrees()


# --- In a profile ------------------------------------------------------------------------------

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(12,2), weight float8);
CREATE INDEX ON orders (customer_id);
CREATE TABLE visits (customer_id bigint, seen_at timestamptz, pages integer);
CREATE INDEX ON visits (customer_id);
CREATE TABLE customers (
    customer_id bigint PRIMARY KEY, age integer, balance float8, worth numeric, member boolean, renews_at timestamptz
);
"""
DEFINITION = """
profile:
  table: customers
  key: {name: customer_id, type: bigint}
  clock: session
  history: {age: static, balance: static, worth: static, member: static, renews_at: static}
events: {orders: {time: ordered_at}, visits: {time: seen_at}}
features:
  busy: {expr: "trend * 2 + CASE WHEN orders >= 2 THEN 1 ELSE 0 END", clip: [0, 3], log1p: true}
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  mean: {from: orders, avg: amount}
  heaviest: {from: orders, max: weight}
  pages: {from: visits, sum: pages}
  orders_7d: {from: orders, count: true, window: 7 days}
  orders_before: {from: orders, count: true, window: 7 days, offset: 7 days}
  silent: {from: orders, days_since: last}
  age: {column: age}
  balance: {column: balance}
  worth: {column: worth}
  member: {column: member}
  renews_in: {column: renews_at, days_until: true}
  trend: {ratio: [orders_7d, orders_before], smooth: 1}
  basket: {ratio: [spend, orders], missing: indicator}
  bought_of_seen: {expr: "orders / pages", default: -1, missing: indicator}
  skew: {expr: "mean / nullif(heaviest, 0)"}
  rich: {expr: "coalesce(balance, 0) + worth > 100 OR member = 1", missing: indicator}
  tired: {expr: "exp(- silent / 7) * coalesce(renews_in, 30)", bucketize: [1, 5], missing: indicator}
models: {churn: {}}
scores: {churn_score: {model: churn}}
"""
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
STORED = {"busy", "trend", "basket", "bought_of_seen", "skew"}
COMPUTED = (*sorted(STORED), "rich", "tired")


def days(delta: timedelta) -> float:
    return delta / timedelta(days=1)


def expected(row: dict[str, Any], events: list[Any], visits: list[Any], now: datetime) -> Env:
    """The computed features of one customer, from its events and plain columns."""
    orders = [e for e in events if e[1] <= now]

    def within(low: int, high: int) -> int:
        return sum(timedelta(days=low) <= now - e[1] < timedelta(days=high) for e in orders)

    spend = sum(float(e[2]) for e in orders)
    pages = sum(v[2] for v in visits if v[1] <= now)
    weights = [e[3] for e in orders if math.isfinite(e[3]) and abs(e[3]) <= 1e100]
    trend = (within(0, 7) + 1) / (within(7, 14) + 1)
    silent = days(now - max(e[1] for e in orders)) if orders else None
    renews = 30.0 if row["renews_at"] is None else days(row["renews_at"] - now)
    balance = row["balance"]
    usable = balance is not None and math.isfinite(balance)
    wealth = (
        None if row["worth"] is None else (balance if usable else 0) + float(row["worth"]) > 100
    )
    known = [x for x in (wealth, row["member"]) if x is not None]
    rich = True if any(known) else (False if len(known) == 2 else None)
    return {
        "trend": trend,
        "busy": trend * 2 + (len(orders) >= 2),
        "basket": spend / len(orders) if orders else None,
        "bought_of_seen": len(orders) / pages if pages else None,
        "skew": (
            spend / len(orders) / max(weights) if orders and weights and max(weights) else None
        ),
        "rich": None if rich is None else float(rich),
        "tired": None if silent is None else math.exp(-silent / 7) * renews,
    }


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        made.execute(f"SET rescore.clock = '{NOW}'".encode())
        define(made, DEFINITION)
        yield made


def fill(conn: Connection) -> tuple[dict[int, dict[str, Any]], list[Any], list[Any]]:
    """Write customers and events, some one by one and some as a set; return them."""
    choose = random.Random(5)
    rows: dict[int, dict[str, Any]] = {}
    for key in range(1, 13):
        rows[key] = {
            "age": choose.choice([None, 30]),
            "balance": choose.choice([None, math.nan, math.inf, -1e300, 1e-300, 120.0]),
            "worth": choose.choice([None, Decimal("50.5"), Decimal("-1e20"), Decimal("1e-30")]),
            "member": choose.choice([None, True, False]),
            "renews_at": choose.choice([None, NOW + timedelta(days=9), NOW - timedelta(days=3)]),
        }
        conn.execute(
            "INSERT INTO customers VALUES (%s, %s, %s, %s, %s, %s)", [key, *rows[key].values()]
        )
    orders = [
        (choose.randint(1, 10), NOW - timedelta(days=choose.randint(-2, 20)),
         Decimal(choose.randint(-500, 50_000)) / 100, choose.choice([0.0, 2.5, -1e99, math.nan]))
        for _ in range(50)
    ]  # fmt: skip
    visits = [
        (choose.randint(1, 12), NOW - timedelta(days=choose.randint(-2, 20)), choose.randint(0, 4))
        for _ in range(20)
    ]
    for order in orders[:25]:
        conn.execute("INSERT INTO orders VALUES (%s, %s, %s, %s)", order)
    for visit in visits:
        conn.execute("INSERT INTO visits VALUES (%s, %s, %s)", visit)
    marks = ", ".join(["(%s, %s, %s, %s)"] * 25)
    conn.execute(f"INSERT INTO orders VALUES {marks}".encode(), [v for o in orders[25:] for v in o])
    return rows, orders, visits


def as_of(conn: Connection, moment: datetime, keys: list[int]) -> dict[int, dict[str, Any]]:
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute(
            "SELECT * FROM rescore_compiled.customers__as_of(%s, %s)", [moment, keys]
        )
        return {r["rescore_key"]: r for r in found}


def agrees(got: Value, wanted: Value) -> bool:
    if got is None or wanted is None:
        return got is wanted
    return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12)


def check(conn: Connection, data: tuple[Any, list[Any], list[Any]], now: datetime) -> None:
    rows, orders, visits = data
    past = as_of(conn, now, list(rows))
    for key, row in rows.items():
        mine = [e for e in orders if e[0] == key], [v for v in visits if v[0] == key]
        wanted = expected(row, *mine, now)
        for name in COMPUTED:
            assert agrees(past[key][name], wanted[name]), (key, name, past[key][name], wanted[name])
        if now == NOW:
            live = one(
                conn,
                "SELECT to_jsonb(customers__live) FROM rescore_compiled.customers__live(%s)",
                key,
            )
            for name in STORED:
                assert agrees(live[name], wanted[name]), (key, name, live[name], wanted[name])


def test_everybody_sees_the_same_number(conn: Connection) -> None:
    contract = contract_of(conn)
    publish(conn)
    data = fill(conn)
    check(conn, data, NOW)
    check(conn, data, NOW - timedelta(days=4))
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    linear = LinearForm.from_json(one(conn, "SELECT linear FROM rescore.models"))
    for key, row in as_of(conn, NOW, list(data[0])).items():
        stored, read, by_key, past = one(
            conn,
            "SELECT churn_score, rescore.predict('churn', c), rescore.predict_key('churn', customer_id),"
            " rescore.predict_key('churn', customer_id, at => %s) FROM customers AS c WHERE customer_id = %s",
            NOW, key,
        )  # fmt: skip
        del row["rescore_key"]
        wanted = apply(linear, np.array([design_row(contract, row, NOW)]))[0]
        assert (stored, read, by_key, past) == pytest.approx((wanted,) * 4, rel=1e-9), key


def test_plain_columns_and_the_clock_move_the_score(conn: Connection) -> None:
    publish(conn)
    conn.execute(
        "INSERT INTO customers (customer_id, worth, renews_at) VALUES (1, 5, '2026-01-05')"
    )
    conn.execute("INSERT INTO orders VALUES (1, '2025-12-30', 3, 1)")

    def score() -> float:
        return float(one(conn, "SELECT churn_score FROM customers"))

    before = score()
    conn.execute("UPDATE customers SET worth = 500")
    assert score() != before
    before = score()
    conn.execute("SET rescore.clock = '2026-01-02 00:00:00+00'")
    conn.execute("CALL rescore.sweep('customers')")
    assert score() != before
    assert score() == pytest.approx(one(conn, "SELECT rescore.predict_key('churn', 1)"))


def test_predict_is_inlined(conn: Connection) -> None:
    publish(conn)
    lines = conn.execute("EXPLAIN VERBOSE SELECT rescore.predict('churn', c) FROM customers AS c")
    plan = "\n".join(line for (line,) in lines)
    assert "exp(" in plan
    assert "churn(" not in plan and "churn_v1" not in plan and "rescore._over" not in plan


def test_a_hostile_search_path_changes_nothing(conn: Connection) -> None:
    publish(conn)
    fill(conn)
    query = "SELECT array_agg(rescore.predict('churn', c) ORDER BY customer_id) FROM public.customers AS c"
    before = one(conn, query)
    conn.execute(
        """CREATE SCHEMA evil;
        CREATE FUNCTION evil.lie(float8, float8) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR evil.= (FUNCTION = evil.lie, LEFTARG = float8, RIGHTARG = float8);
        CREATE FUNCTION evil.sum(float8, float8) RETURNS float8 LANGUAGE sql AS 'SELECT 7.0::float8';
        CREATE OPERATOR evil.+ (FUNCTION = evil.sum, LEFTARG = float8, RIGHTARG = float8);
        SET search_path = evil, pg_catalog"""
    )
    assert one(conn, query) == before


# --- What is refused -----------------------------------------------------------------------------

WRONG = [
    ("pg_sleep(orders)", "pg_sleep"),
    ("public.abs(orders)", "public.abs"),
    ("(SELECT 1) + orders", "SubLink"),
    ("orders::text", "TypeCast"),
    ("orders::regclass", "TypeCast"),
    ("CAST(orders AS float8)", "TypeCast"),
    ("orders + current_setting('x')", "current_setting"),
    ("orders + now()", "now"),
    ("current_date - orders", "SQLValueFunction"),
    ("orders OPERATOR(evil.+) 1", "evil.+"),
    ("orders || 'x'", "||"),
    ("'x'", "constant"),
    ("orders + $1", "ParamRef"),
    ("c.orders", "dot"),
    ("*", "expression"),
    ("orders; DROP TABLE customers", "expression"),
    ("orders) + (orders", "syntax"),
    ("orders FROM customers", "expression"),
    ("orders AS x", "expression"),
    ("count(orders)", "count"),
    ("abs(DISTINCT orders)", "aggregate"),
    ("abs(orders) OVER ()", "window"),
    ("abs(VARIADIC orders)", "VARIADIC"),
    ("abs(orders, orders)", "2 arguments"),
    ("power(orders)", "1 arguments"),
    ("round(orders, orders)", "digits"),
    ("round(orders, 1000)", "digits"),
    ("orders > 1 + (orders > 2)", "truth value"),
    ("NOT orders", "number stands"),
    ("CASE WHEN orders THEN 1 END", "number stands"),
    ("orders + true", "truth value"),
    ("orders * 1e101", "1e101"),
    ("orders * 1e400", "1e400"),
    ("orders * 1e-101", "1e-101"),
    ("ARRAY[orders]", "A_ArrayExpr"),
    ("(orders).x", "A_Indirection"),
    ("ROW(orders)", "RowExpr"),
    ("orders = ANY (ARRAY[1])", "OP_ANY"),
    ("orders LIKE orders", "LIKE"),
    ("orders SIMILAR TO orders", "SIMILAR"),
    ("orders BETWEEN SYMMETRIC 1 AND 2", "BETWEEN_SYM"),
    ("orders COLLATE \"C\"", "CollateClause"),
    ("1 + 1", "no feature"),
    ("orderz + 1", "orderz"),
    ("plan + 1", "category"),
    ("me + 1", "itself"),
    ("orders + " + " + ".join(["orders"] * 3000), ""),
    ("(" * 200 + "orders" + ")" * 200 + " + 1" * 200, ""),
    ("orders + \"\\0\"", ""),
    ("", ""),
]  # fmt: skip
SMALL = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  plan: {column: plan, one_hot: [a, b]}
  me: {expr: EXPR}
models: {churn: {}}
scores: {churn_score: {model: churn}}
"""


@pytest.mark.parametrize(("expression", "says"), WRONG)
def test_what_is_no_number_of_features_is_refused(expression: str, says: str) -> None:
    quoted = "'" + expression.replace("'", "''") + "'"
    with pytest.raises(RescoreError) as refused:
        parse(SMALL.replace("EXPR", quoted))
    assert says in str(refused.value.message) + str(refused.value.detail)


def test_a_cycle_is_named() -> None:
    text = SMALL.replace("{expr: EXPR}", "{ratio: [x, orders]}\n  x: {expr: me + 1}")
    with pytest.raises(RescoreError, match="me → x → me"):
        parse(text)


def test_many_features_in_a_row_are_refused_not_a_crash() -> None:
    chain = "".join(f"\n  x{n}: {{expr: x{n + 1} + 1}}" for n in range(500))
    text = SMALL.replace("{expr: EXPR}", f"{{expr: x0}}{chain}\n  x500: {{expr: orders}}")
    with pytest.raises(RescoreError, match="in a row"):
        parse(text)


def test_doubling_features_are_refused(conn: Connection) -> None:
    chain = "".join(f"\n  x{n}: {{expr: x{n - 1} + x{n - 1}}}" for n in range(1, 15))
    extra = f"  x0: {{expr: orders}}{chain}\nmodels:"
    with pytest.raises(RescoreError, match="characters of SQL"):
        define(conn, DEFINITION.replace("models:", extra))
