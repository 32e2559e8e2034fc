"""Cases that once went wrong: each was found by somebody trying to break the triggers or apply."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from rescore.compiler.apply import plan
from rescore.compiler.definition import parse
from rescore.errors import RescoreError
from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

ORDERS = "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint, at timestamptz DEFAULT now(), amount numeric(10,2), n int)"
BASIC = """
profile: {table: prof, key: {name: customer_id, type: bigint}}
events: {orders: {time: at}}
features:
  f: {from: orders, count: true}
  biggest: {from: orders, max: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(plain_dsn: str) -> Any:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute(ORDERS.encode())
        made.execute("CREATE INDEX ON orders (customer_id)")
        yield made


def right(conn: Connection, profile: str = "prof") -> bool:
    return conn.execute("SELECT * FROM rescore.verify(%s)", [profile]).fetchall() == []


@pytest.mark.parametrize(
    "second", ["sum: amount", "max: amount", "max: n", "avg: amount", "min: n"]
)
def test_a_feature_may_change_its_kind_and_type(conn: Connection, second: str) -> None:
    define(conn, BASIC)
    conn.execute("INSERT INTO orders (customer_id, amount, n) VALUES (1, 5.5, 3), (1, 7.25, NULL)")
    define(conn, BASIC.replace("count: true", second))
    assert right(conn)
    conn.execute("INSERT INTO orders (customer_id, amount, n) VALUES (1, 0.25, 1)")
    assert right(conn)
    conn.execute("DELETE FROM orders")
    assert right(conn)
    define(conn, BASIC)
    assert right(conn)


def test_what_was_dropped_comes_back_counted(conn: Connection) -> None:
    define(conn, BASIC)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 6)")
    conn.execute("ALTER TABLE prof DROP COLUMN f")
    define(conn, BASIC)
    assert one(conn, "SELECT f FROM prof") == 2
    conn.execute("DROP TRIGGER rescore_prof__orders_insert ON orders")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 7)")
    define(conn, BASIC)
    assert one(conn, "SELECT f FROM prof") == 3
    conn.execute("DROP TABLE prof CASCADE")
    define(conn, BASIC)
    assert one(conn, "SELECT f FROM prof") == 3
    assert right(conn)


def test_names_that_could_be_taken_for_one_another(conn: Connection) -> None:
    for table in ("customer", "customer_web", "a", "a_"):
        event = {"customer": "web_orders", "customer_web": "orders", "a": "_b", "a_": "b"}[table]
        text = BASIC.replace("table: prof", f"table: {table}").replace(
            "{orders: {time: at}}", f"{{{event}: {{table: orders, time: at}}}}"
        )
        define(
            conn,
            text.replace("from: orders", f"from: {event}").replace(
                "churn", f"m{len(table)}{table[0]}"
            ),
        )
    define(
        conn,
        BASIC.replace("orders: {time", "row: {table: orders, time").replace(
            "from: orders", "from: row"
        ),
    )
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    conn.execute("INSERT INTO prof (customer_id) VALUES (2)")
    for table in ("customer", "customer_web", "a", "a_", "prof"):
        assert one(conn, f"SELECT f FROM {table} WHERE customer_id = 1") == 1
        assert right(conn, table)


def test_columns_called_like_variables(conn: Connection) -> None:
    conn.execute(
        "CREATE TABLE visits (k bigint, moment timestamptz, keys int, r_key int, e int, p int, l int, d int, after int, batch int)"
    )
    conn.execute(
        "CREATE TABLE folk (k bigint PRIMARY KEY, key int, model text, r int, r_keys int, batch int, after int)"
    )
    define(
        conn,
        """
profile: {table: folk, key: {name: k, type: bigint}}
events: {visits: {time: moment}}
features:
  visits: {from: visits, count: true, where: "keys > 0"}
  moment: {from: visits, max: r_key}
  keys: {from: visits, last: e}
  batch: {column: batch}
models: {m: {features: all}}
scores: {s: {model: m}}
""".replace("  batch: {column: batch}\n", ""),
    )
    publish(conn, "m")
    conn.execute(
        "INSERT INTO visits SELECT 1, t::timestamptz, 1, 5, 6 FROM unnest(ARRAY['2020-01-01Z', '2024-01-01Z', '-infinity']) AS t"
    )
    conn.execute("UPDATE visits SET r_key = 9")
    conn.execute("INSERT INTO folk (k) VALUES (2)")
    assert right(conn, "folk")
    assert one(
        conn,
        "SELECT rescore_key, visits, moment, keys FROM rescore_compiled.folk__as_of('2021-01-01Z')",
    ) == (1, 1, 9, 6)
    assert one(conn, "SELECT rescore.rebuild('folk')") == 0


def test_a_row_inserted_after_its_event_in_one_statement(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    conn.execute(
        "WITH p AS (INSERT INTO prof VALUES (7)) INSERT INTO orders (customer_id, amount) VALUES (7, 5)"
    )
    assert one(conn, "SELECT f FROM prof WHERE customer_id = 7") == 1
    conn.execute("""CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO prof (customer_id) VALUES (NEW.customer_id) ON CONFLICT DO NOTHING; RETURN NULL; END';
        CREATE TRIGGER make AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION make()""")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (8, 5)")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (8, 5), (9, 1)")
    assert right(conn)


def test_a_key_that_changes_and_comes_back(conn: Connection) -> None:
    define(conn, BASIC)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 6)")
    conn.execute("UPDATE prof SET customer_id = 50 WHERE customer_id = 1")
    assert right(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, "SELECT f FROM prof WHERE customer_id = 1") == 3
    conn.execute(
        "WITH p AS (DELETE FROM prof WHERE customer_id = 1) INSERT INTO orders (customer_id, amount) VALUES (1, 5)"
    )
    assert right(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, "SELECT f FROM prof WHERE customer_id = 1") == 5


def test_a_retraction_races_the_row_it_belongs_to(conn: Connection, plain_dsn: str) -> None:
    define(conn, BASIC)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 6)")
    conn.execute("DELETE FROM prof")
    with psycopg.connect(plain_dsn) as first, psycopg.connect(plain_dsn, autocommit=True) as second:
        first.execute("INSERT INTO prof (customer_id) VALUES (1)")
        second.execute("SET lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute("DELETE FROM orders WHERE amount = 5")
        first.commit()
        second.execute("DELETE FROM orders WHERE amount = 5")
    assert one(conn, "SELECT f FROM prof") == 1
    assert right(conn)


def test_an_old_snapshot_fails_rather_than_counts_wrong(conn: Connection, plain_dsn: str) -> None:
    define(conn, BASIC.replace("  f: {from: orders, count: true}\n", ""))
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 9), (2, 4), (2, 1)")
    conn.execute("DELETE FROM prof WHERE customer_id = 2")
    changes = (
        ("UPDATE orders SET amount = 8 WHERE amount = 5", "DELETE FROM orders WHERE amount = 9"),
        (
            "DELETE FROM orders WHERE amount = 4",
            "INSERT INTO orders (customer_id, amount) VALUES (2, 2)",
        ),
    )
    for change, late in changes:
        with psycopg.connect(plain_dsn) as old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT 1 FROM orders")
            conn.execute(change.encode())
            with pytest.raises(psycopg.errors.SerializationFailure):
                old.execute(late.encode())
            old.rollback()
    assert right(conn)


def test_a_link_that_comes_while_its_event_does(conn: Connection, plain_dsn: str) -> None:
    conn.execute("CREATE TABLE subs (sub text PRIMARY KEY, customer_id bigint)")
    conn.execute("CREATE TABLE bills (sub text, at timestamptz DEFAULT now())")
    define(
        conn,
        """
profile: {table: prof, key: {name: customer_id, type: bigint}}
links: {sub: {table: subs, on: sub, gives: customer_id}}
events: {bills: {time: at, via: sub}}
features: {bills: {from: bills, count: true}}
""",
    )
    for n, (one_first, other) in enumerate(
        [
            ("INSERT INTO bills VALUES ('S')", "INSERT INTO subs VALUES ('S', 1)"),
            ("INSERT INTO subs VALUES ('S', 1)", "INSERT INTO bills VALUES ('S')"),
        ]
    ):
        with (
            psycopg.connect(plain_dsn) as first,
            psycopg.connect(plain_dsn, autocommit=True) as second,
        ):
            first.execute(one_first.replace("'S'", f"'s{n}'").encode())
            second.execute("SET lock_timeout = '300ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second.execute(other.replace("'S'", f"'s{n}'").encode())
            first.commit()
            second.execute(other.replace("'S'", f"'s{n}'").encode())
    assert one(conn, "SELECT bills FROM prof") == 2
    assert right(conn)


def test_a_failing_condition_or_a_failing_constraint_keeps_the_event(conn: Connection) -> None:
    conn.execute("ALTER TABLE orders ADD COLUMN channel text")
    define(conn, BASIC.replace("count: true", 'count: true, where: "channel::int4 > 3"'))
    conn.execute("INSERT INTO orders (customer_id, channel) VALUES (1, 'web')")
    assert one(conn, "SELECT count(*) FROM orders") == 1
    assert one(conn, "SELECT count(*) > 0 FROM rescore.incidents") is True


def test_a_failure_at_commit_keeps_the_event_too(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    conn.execute("DELETE FROM prof")
    conn.execute("ALTER FUNCTION rescore_compiled.churn_version() RENAME TO gone")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, "SELECT f, churn_score_at FROM prof") == (2, None)


def test_rebuild_mends_derived_columns_and_scores(conn: Connection) -> None:
    define(conn, BASIC.replace("max: amount", "avg: amount"))
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (2, 5)")
    conn.execute("UPDATE prof SET biggest = 77, churn_score = 0.123 WHERE customer_id = 1")
    assert one(conn, "SELECT rescore.rebuild('prof')") == 1
    assert right(conn)


def test_two_definitions_applied_at_once_both_serve(conn: Connection, plain_dsn: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def job(name: str) -> None:
        with psycopg.connect(plain_dsn, autocommit=True) as mine:
            define(
                mine, BASIC.replace("table: prof", f"table: {name}").replace("churn", f"m{name}")
            )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(job, ["one", "two", "three"]))
    for name in ("one", "two", "three"):
        assert one(conn, f"SELECT rescore.predict_key('m{name}', 1)") is None


HOSTILE = ["x\ncreate table public.pwned (a int);\n--", "x\x07"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_with_control_characters_are_refused(conn: Connection, name: str) -> None:
    text = BASIC.replace("{table: prof,", "{table: prof, name: NAME,")
    definition = parse(text.replace("NAME", "plain"))
    odd = definition.model_copy(
        update={"profile": definition.profile.model_copy(update={"name": name})}
    )
    with pytest.raises(RescoreError):
        plan(conn, odd)
    assert one(conn, "SELECT to_regclass('public.pwned')") is None


def test_a_condition_cannot_end_a_function_body(conn: Connection) -> None:
    with pytest.raises(RescoreError, match=r"\$rescore\$"):
        define(
            conn,
            BASIC.replace("count: true", "count: true, where: \"amount::text = '$rescore$ x'\""),
        )


def test_an_ordinary_role_may_not_call_what_the_triggers_call(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    open_to_all = """
        SELECT p.proname FROM pg_proc AS p WHERE p.prosecdef AND p.pronamespace = 'rescore_compiled'::regnamespace
          AND has_function_privilege('public', p.oid, 'EXECUTE')"""
    assert conn.execute(open_to_all.encode()).fetchall() == []


def test_a_contract_type_is_a_type_and_no_sql(conn: Connection) -> None:
    define(conn, BASIC)
    inputs = one(conn, "SELECT inputs FROM rescore.deployments")
    inputs[0]["type"] = "int8 /*(*/)) AS r (f) CROSS JOIN (SELECT 1/0) AS z -- */"
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(
            "SELECT rescore.publish_linear('churn', 'x', encode(sha256('x'), 'hex'), %s, %s, %s, ARRAY[0.5::float8])",
            [
                Jsonb({"weights": [0, 0], "intercept": 0, "link": "logistic"}),
                Jsonb({"inputs": inputs}),
                Jsonb([{}]),
            ],
        )
    assert caught.value.sqlstate == "RS004"


@pytest.mark.parametrize("adopted", [False, True])
def test_keys_that_differ_and_are_equal_are_refused(conn: Connection, adopted: bool) -> None:
    icu = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
    conn.execute(f"CREATE COLLATION nocase ({icu})".encode())
    conn.execute("ALTER TABLE orders ALTER customer_id TYPE text COLLATE nocase")
    if adopted:
        conn.execute("CREATE TABLE prof (customer_id text COLLATE nocase PRIMARY KEY)")
    with pytest.raises(
        RescoreError, match="nondeterministic collation nocase" if adopted else "collation"
    ):
        define(conn, BASIC.replace("bigint", "text"))
