"""Reading scores: by row, by key, by payload, explained; inlined, total, and correct under any search_path."""

from __future__ import annotations

import math
import re
import uuid
from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one, open_profile, publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2), channel text);
CREATE INDEX ON orders (customer_id);
CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, plan text, age float8, renews_at date);
"""
DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  avg_order: {from: orders, avg: amount}
  biggest: {from: orders, max: amount, missing: indicator}
  last_channel: {from: orders, last: channel, one_hot: [web, store], other: true}
  silent: {from: orders, days_since: last}
  plan: {column: plan, one_hot: [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8]}
  age: {column: age, default: 40}
  renews_in: {column: renews_at, days_until: true}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(any_dsn: str) -> Any:
    with open_profile(any_dsn, SHOP, DEFINITION) as made:
        made.execute(
            "INSERT INTO customer_profile (customer_id, plan, age, renews_at) VALUES (1, 'b8', 30, '2030-01-01'), (2, 'zz', 'NaN', NULL)"
        )
        made.execute(
            "INSERT INTO orders (customer_id, amount, channel) VALUES (1, 5, 'web'), (1, 7.5, 'fax'), (2, 1, NULL)"
        )
        yield made


def explain(conn: Connection, query: str) -> str:
    return "\n".join(r[0] for r in conn.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {query}".encode()))


def test_the_row_form_is_inlined_to_arithmetic(conn: Connection) -> None:
    shown = explain(conn, "SELECT rescore.predict('churn', p) FROM customer_profile AS p")
    assert "rescore" not in shown
    assert "exp(" in shown and "orders" in shown


def test_the_trigger_updates_by_key_with_inlined_score(conn: Connection) -> None:
    body = one(
        conn,
        "SELECT pg_get_functiondef('rescore_compiled.customer_profile__orders_insert'::regproc)",
    )
    update = re.search(
        r"UPDATE \"public\".*?WHERE p\.\"customer_id\" = rescore_v_key\b.*?;", body, re.DOTALL
    )
    assert update
    text = re.sub(r"\brescore_v_clock\b", "now()", update.group())
    text = re.sub(r"\brescore_v_moment\b", "clock_timestamp()", text)
    text = re.sub(r"\brescore_v_key\b", "1::bigint", text).rstrip(";")
    types = dict(re.findall(r"^    (rescore_v_(?:\d+|time)) (.*);$", body, re.MULTILINE))
    text = re.sub(r"\brescore_v_(?:\d+|time)\b", lambda m: f"NULL::{types[m.group()]}", text)
    shown = explain(conn, text)
    assert "rescore_compiled" not in shown
    assert "Index Scan" in shown and "Sort" not in shown


def test_every_way_gives_the_same_score(conn: Connection) -> None:
    for key in (1, 2):
        stored = one(conn, "SELECT churn_score FROM customer_profile WHERE customer_id = %s", key)
        row = one(
            conn,
            "SELECT rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = %s",
            key,
        )
        assert row == pytest.approx(stored, abs=1e-6)
        with conn.transaction():
            row = one(
                conn,
                "SELECT rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = %s",
                key,
            )
            assert one(conn, f"SELECT rescore.predict_key('churn', '{key}')") == row
            assert one(conn, f"SELECT rescore.predict_key('churn', {key})") == row
            assert one(conn, "SELECT rescore.predict_key(%s, %s)", "churn", key) == row
            assert one(conn, "SELECT rescore.predict_key(%s, %s)", "churn", str(key)) == row
            assert one(conn, "SELECT rescore.predict_key('churn', %s, '{}')", key) == pytest.approx(
                row, rel=1e-12
            )


def test_unknown_key_is_null_and_unknown_model_an_error(conn: Connection) -> None:
    assert one(conn, "SELECT rescore.predict_key('churn', 99)") is None
    for query in (
        "SELECT rescore.predict('chrun', p) FROM customer_profile AS p",
        "SELECT rescore.predict_key('chrun', 1)",
        "SELECT rescore.predict_key('chrun', '1')",
        "SELECT rescore.predict_payload('chrun', '{}')",
    ):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(query.encode())
        assert caught.value.sqlstate == "RS001"
        assert "chrun" in (caught.value.diag.message_primary or "")
        assert "churn" in (caught.value.diag.message_detail or "")
        assert caught.value.diag.message_hint


def test_a_key_of_the_wrong_type(conn: Connection) -> None:
    for value in ("'abc'", "'6f0c6e3e-0d0a-4b0e-8f58-0a3f9a0b8d11'::uuid"):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(f"SELECT rescore.predict_key('churn', {value})".encode())
        assert caught.value.sqlstate == "RS013"


def test_keys_of_every_type_side_by_side(conn: Connection) -> None:
    conn.execute("CREATE TABLE clicks (who uuid, at timestamptz DEFAULT now())")
    define(
        conn,
        """
profile: {table: visitors, key: {name: who, type: uuid}}
events: {clicks: {time: at}}
features: {clicks: {from: clicks, count: true}}
models: {interest: {features: all}}
scores: {interest: {model: interest}}
""",
    )
    publish(conn, "interest")
    who = uuid.uuid4()
    conn.execute("INSERT INTO clicks VALUES (%s)", [who])
    stored = one(conn, "SELECT interest FROM visitors")
    assert one(conn, "SELECT rescore.predict_key('interest', %s)", who) == stored
    assert one(conn, f"SELECT rescore.predict_key('interest', '{who}')") == stored
    assert one(conn, "SELECT rescore.predict_key('churn', 1)") is not None
    with pytest.raises(psycopg.Error, match="is no key of profile visitors"):
        conn.execute("SELECT rescore.predict_key('interest', 1)")


def test_overrides_replace_features(conn: Connection) -> None:
    with conn.transaction():
        changed = one(
            conn, """SELECT rescore.predict_key('churn', 1, '{"orders": 100, "plan": "a3"}')"""
        )
        expected = one(
            conn,
            """SELECT rescore.predict('churn', q) FROM customer_profile AS p
               CROSS JOIN LATERAL jsonb_populate_record(p, '{"orders": 100, "plan": "a3"}') AS q WHERE p.customer_id = 1""",
        )
    assert changed == pytest.approx(expected, rel=1e-12)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("""SELECT rescore.predict_key('churn', 1, '{"odrers": 1}')""")
    assert caught.value.sqlstate == "RS009"


def test_at_a_past_moment(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO orders VALUES (3, '2020-01-01Z', 10, 'web'), (3, '2020-03-01Z', 99, 'store')"
    )
    conn.execute("""UPDATE customer_profile SET plan = NULL WHERE customer_id = 3""")
    then = one(conn, "SELECT rescore.predict_key('churn', 3, at => '2020-02-01 00:00+00')")
    payload = """{"orders": 1, "spend": 10, "avg_order": 10, "biggest": 10, "last_channel": "web", "silent": "2020-01-01T00:00:00Z"}"""
    made = one(conn, "SELECT rescore_compiled.churn_payload(%s, '2020-02-01 00:00+00')", payload)
    assert then == pytest.approx(made, rel=1e-12)


def test_payload_defaults_and_errors(conn: Connection) -> None:
    assert 0 <= one(conn, "SELECT rescore.predict_payload('churn', '{}')") <= 1
    for payload, named in (('{"odrers": 1}', "odrers"), ('{"orders": "many"}', "orders")):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT rescore.predict_payload('churn', %s)", [payload])
        assert caught.value.sqlstate == "RS009"
        assert named in str(caught.value)


def test_explain_adds_up_to_the_log_odds(conn: Connection) -> None:
    with conn.transaction():
        rows = conn.execute(
            "SELECT feature, value, weight, contribution FROM rescore.explain('churn', 1)"
        ).fetchall()
        score = one(conn, "SELECT rescore.predict_key('churn', 1)")
    total = sum(r[3] for r in rows)
    assert math.isclose(total, math.log(score / (1 - score)), rel_tol=1e-9)
    assert {"orders", "plan=b8", "last_channel=*", "biggest__missing", "(intercept)"} <= {
        r[0] for r in rows
    }


HOSTILE = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 666::bigint';
CREATE OPERATOR evil.+ (leftarg = bigint, rightarg = bigint, function = evil.plus);
CREATE FUNCTION evil.plusi(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT 666::bigint';
CREATE OPERATOR evil.+ (leftarg = bigint, rightarg = integer, function = evil.plusi);
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.eq);
CREATE FUNCTION evil.times(double precision, double precision) RETURNS double precision LANGUAGE sql AS 'SELECT 666::float8';
CREATE OPERATOR evil.* (leftarg = double precision, rightarg = double precision, function = evil.times);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''1999-01-01''::timestamptz';
CREATE FUNCTION evil.exp(double precision) RETURNS double precision LANGUAGE sql AS 'SELECT 666::float8';
"""


def test_a_hostile_search_path_changes_nothing(conn: Connection, any_dsn: str) -> None:
    with conn.transaction():
        before = one(
            conn,
            "SELECT rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = 1",
        )
        conn.execute(HOSTILE.encode())
        conn.execute("SET LOCAL search_path = evil, public, pg_catalog")
        conn.execute("CREATE TEMP TABLE customer_profile (LIKE public.customer_profile)")
        for query in (
            "SELECT rescore.predict('churn', p) FROM public.customer_profile AS p WHERE customer_id OPERATOR(pg_catalog.=) 1",
            "SELECT rescore.predict_key('churn', 1)",
        ):
            assert one(conn, query) == before
        with pytest.raises(psycopg.Error), conn.transaction():
            one(conn, "SELECT rescore.predict('other', p) FROM public.customer_profile AS p")
        conn.execute("DROP TABLE pg_temp.customer_profile")
    with psycopg.connect(
        any_dsn, autocommit=True, options="-c search_path=evil,public,pg_catalog"
    ) as other:
        other.execute(
            "INSERT INTO public.orders (customer_id, amount, channel) VALUES (1, 1, 'web')"
        )
    assert one(conn, "SELECT orders FROM customer_profile WHERE customer_id = 1") == 3
    assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0


def test_extreme_numbers_never_raise(conn: Connection) -> None:
    values = ["1e308", "-1e308", "5e-324", "NaN", "Infinity", "-Infinity", "0", "9007199254740993"]
    for value in values:
        conn.execute("UPDATE customer_profile SET age = %s::float8 WHERE customer_id = 1", [value])
        stored = one(conn, "SELECT churn_score FROM customer_profile WHERE customer_id = 1")
        assert 0 <= stored <= 1
    for moment in ("infinity", "-infinity", "0044-03-15 BC", "9999-12-31"):
        conn.execute(
            "UPDATE customer_profile SET renews_at = %s::date WHERE customer_id = 1", [moment]
        )
        assert 0 <= one(conn, "SELECT churn_score FROM customer_profile WHERE customer_id = 1") <= 1
    assert one(conn, "SELECT count(*) FROM rescore.incidents") == 0


@pytest.mark.parametrize("any_dsn", ["python"], indirect=True)
def test_a_new_connection_imports_no_python(conn: Connection, any_dsn: str) -> None:
    with psycopg.connect(any_dsn, autocommit=True) as fresh:
        one(fresh, "SELECT rescore.predict('churn', p) FROM customer_profile AS p LIMIT 1")
        fresh.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 3)")
        pid = one(fresh, "SELECT pg_backend_pid()")
        maps = one(conn, "SELECT pg_read_file(%s, 0, 1000000, true)", f"/proc/{pid}/maps")
        assert "plpgsql" in maps
        assert "plpython" not in maps and "libpython" not in maps


def test_prepared_statements_follow_a_publish(conn: Connection) -> None:
    conn.execute(
        "PREPARE score AS SELECT rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = $1"
    )
    for _ in range(8):
        before = one(conn, "EXECUTE score(1)")
    publish(conn, seed=11)
    assert abs(one(conn, "EXECUTE score(1)") - before) > 1e-6
    one(conn, "SELECT rescore.rollback('churn')")
    assert one(conn, "EXECUTE score(1)") == pytest.approx(before, abs=1e-6)
