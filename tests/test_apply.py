"""``apply``: creates, adopts, changes only what must change, and refuses what does not fit."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rescore.compiler.apply import apply, plan
from rescore.compiler.definition import parse
from rescore.errors import BadDefinition, DoesNotFit, NotInstalled
from rescore.tests.support import catalogue, define, one, open_profile, publish
from rescore.tests.waiting import waits

Connection = psycopg.Connection[Any]

ORDERS = """
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                     customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2), channel text);
"""
BASIC = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(ORDERS.encode())
        yield made


def test_a_second_apply_changes_nothing(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    before = catalogue(conn)
    again = define(conn, BASIC)
    assert again.empty and again.changes == []
    assert catalogue(conn) == before


OIDS = """SELECT json_object_agg(oid::regprocedure, oid::int) FROM pg_proc
WHERE pronamespace = 'rescore_compiled'::regnamespace"""
CALLS = {
    "keys": "NULL, 10",
    "as_of": "now()",
    "only": "1",
    "rescore": "NULL, NULL, 10, NULL, 0",
    "rescore_unlocked": "'{1}', NULL, 0",
}
ONLY = BASIC.replace("type: bigint}}", "type: bigint}, only: age > 17}")
PEOPLE = b"CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, age int, height float8)"


@pytest.mark.parametrize("name", CALLS)
def test_who_has_begun_to_call_a_function_finds_it(conn: Connection, dsn: str, name: str) -> None:
    conn.execute(PEOPLE)
    define(conn, ONLY)
    before = one(conn, OIDS)
    conn.execute("SELECT pg_advisory_lock(7)")
    # Which function is known before the first of these two is called, what it does only afterwards.
    call = f"SELECT pg_advisory_lock_shared(7), rescore_compiled.customer_profile__{name}({CALLS[name]})"
    with waits(conn, dsn, call):
        define(conn, ONLY.replace("sum: amount", "sum: amount, where: amount > 5"))
        conn.execute("SELECT pg_advisory_unlock(7)")
    assert one(conn, OIDS) == before


def test_functions_of_other_arguments_or_another_result_are_made_anew(conn: Connection) -> None:
    conn.execute(PEOPLE)
    define(conn, ONLY)
    conn.execute("DROP FUNCTION rescore_compiled.customer_profile__keys")
    conn.execute(
        b"CREATE FUNCTION rescore_compiled.customer_profile__keys(a bigint) RETURNS text LANGUAGE sql RETURN 'old'"
    )
    define(
        conn,
        ONLY.replace("  spend:", "  more: {from: orders, max: amount}\n  spend:").replace(
            "age > 17", "height > 1.4"
        ),
    )
    assert one(conn, "SELECT count(*) FROM pg_proc WHERE proname = 'customer_profile__keys'") == 1
    assert one(conn, "SELECT rescore_compiled.customer_profile__keys(NULL, 10)") is None
    assert one(conn, "SELECT rescore_compiled.customer_profile__only(1.5)") is True
    assert (
        conn.execute("SELECT more FROM rescore_compiled.customer_profile__as_of(now())").fetchall()
        == []
    )


def test_plan_prints_what_apply_runs_and_touches_nothing(conn: Connection) -> None:
    before = catalogue(conn)
    made = plan(conn, parse(BASIC))
    assert catalogue(conn) == before
    assert not made.empty
    assert 'CREATE TABLE "public"."customer_profile"' in made.sql
    assert "CREATE OR REPLACE TRIGGER" in made.sql


def test_a_trigger_somebody_dropped_comes_back(conn: Connection) -> None:
    define(conn, BASIC)
    before = catalogue(conn)
    conn.execute("DROP TRIGGER rescore_customer_profile__orders_insert ON orders")
    assert not plan(conn, parse(BASIC)).empty
    define(conn, BASIC)
    assert [r for r in catalogue(conn) if r[0] == "trigger"] == [
        r for r in before if r[0] == "trigger"
    ]


def test_a_rebuild_without_a_model_changes_nothing(conn: Connection) -> None:
    define(conn, BASIC)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (2, 6)")
    assert one(conn, "SELECT rescore.rebuild('customer_profile')") == 0
    publish(conn)
    assert one(conn, "SELECT rescore.rebuild('customer_profile')") == 2
    assert one(conn, "SELECT rescore.rebuild('customer_profile')") == 0


def test_history_is_backfilled(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id, amount) SELECT i % 7, i FROM generate_series(1, 100) AS i"
    )
    define(conn, BASIC)
    assert one(conn, "SELECT count(*), sum(orders), sum(spend) FROM customer_profile") == (
        7,
        100,
        5050,
    )
    assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0


def test_a_new_feature_is_backfilled_and_the_others_left_alone(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 9), (2, 3)")
    changed = define(
        conn, BASIC.replace("  spend:", "  biggest: {from: orders, max: amount}\n  spend:")
    )
    assert changed.changes == [
        "add column biggest numeric",
        "write functions and triggers",
        "count 2 customers from their events",
    ]
    rows = conn.execute(
        "SELECT customer_id, orders, biggest FROM customer_profile ORDER BY 1"
    ).fetchall()
    assert rows == [(1, 2, 9), (2, 1, 3)]


def test_a_changed_condition_is_recounted(conn: Connection) -> None:
    text = BASIC.replace("count: true}", 'count: true, where: "amount > 4"}')
    define(conn, text)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 3), (1, 9)")
    assert one(conn, "SELECT orders FROM customer_profile") == 2
    made = define(conn, text.replace("> 4", "> 6"))
    assert "recount orders from its events" in made.changes
    assert one(conn, "SELECT orders FROM customer_profile") == 1


def test_a_removed_feature_keeps_its_column_until_drop(conn: Connection) -> None:
    define(conn, BASIC)
    less = BASIC.replace("  spend: {from: orders, sum: amount}\n", "")
    made = define(conn, less)
    assert made.notes == ["column spend is no longer used; --drop removes it"]
    assert "spend" in _columns(conn)
    define(conn, less, drop=True)
    assert "spend" not in _columns(conn)
    assert define(conn, less, drop=True).empty


def test_a_feature_the_serving_version_reads_is_retired_first(conn: Connection) -> None:
    define(conn, BASIC)
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    with pytest.raises(DoesNotFit, match="the serving version of model churn reads it"):
        define(conn, BASIC.replace("  spend: {from: orders, sum: amount}\n", ""))
    retired = BASIC.replace("{features: all}", "{features: {except: [spend]}}")
    define(conn, retired)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    same = "SELECT churn_score = rescore.predict('churn', p), churn_score_version FROM customer_profile AS p"
    assert one(conn, same) == (True, 1)
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, same) == (True, 2)
    define(conn, BASIC.replace("  spend: {from: orders, sum: amount}\n", ""))
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, same) == (True, 2)


def test_only_may_read_a_column_that_is_a_feature_too(conn: Connection) -> None:
    conn.execute("CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, plan text)")
    text = BASIC.replace("type: bigint}}", "type: bigint}, only: \"plan = 'pro'\"}")
    define(
        conn, text.replace("  spend:", "  plan: {column: plan, one_hot: [basic, pro]}\n  spend:")
    )
    publish(conn)
    conn.execute("INSERT INTO customer_profile VALUES (1, 'pro'), (2, 'basic')")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (2, 5)")
    scored = "SELECT customer_id, churn_score IS NOT NULL, rescore.predict('churn', p) IS NOT NULL FROM customer_profile AS p ORDER BY 1"
    assert conn.execute(scored.encode()).fetchall() == [(1, True, True), (2, False, False)]
    conn.execute(
        "UPDATE customer_profile SET plan = CASE plan WHEN 'pro' THEN 'basic' ELSE 'pro' END"
    )
    assert conn.execute(scored.encode()).fetchall() == [(1, False, False), (2, True, True)]
    assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0


def test_a_changed_meaning_is_said(conn: Connection) -> None:
    define(conn, BASIC)
    made = define(conn, BASIC.replace("count: true}", 'count: true, where: "amount > 4"}'))
    said = [
        "orders now means something else: train model churn anew, its versions learnt the old one"
    ]
    assert made.notes == said
    assert define(conn, BASIC).notes == said


def test_a_column_counted_anew_that_means_the_same_is_not_said(conn: Connection) -> None:
    """As after an upgrade that computes a value another way, or once its triggers were lost."""
    define(conn, BASIC)
    conn.execute(
        "UPDATE rescore.profiles SET plan = jsonb_set(plan, '{states,spend}', '\"another way\"')"
    )
    made = define(conn, BASIC)
    assert (made.notes, made.changes[0]) == ([], "recount spend from its events")
    conn.execute("DROP TRIGGER rescore_customer_profile__orders_insert ON orders")
    assert define(conn, BASIC.replace("ordered_at", "ordered_at, mode: queued")).notes == []
    conn.execute("ALTER TABLE orders ALTER amount TYPE float8")
    assert [note.split(":")[0] for note in define(conn, BASIC).notes] == [
        "spend now means something else"
    ]


def _columns(conn: Connection) -> set[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'customer_profile'::regclass AND attnum > 0"
    return {r[0] for r in conn.execute(query.encode())}


def test_an_events_table_that_left_the_definition_loses_its_triggers(conn: Connection) -> None:
    conn.execute("CREATE TABLE visits (customer_id bigint, at timestamptz)")
    more = BASIC.replace(
        "{orders: {time: ordered_at}}", "{orders: {time: ordered_at}, visits: {time: at}}"
    )
    define(conn, more.replace("  spend:", "  visits: {from: visits, count: true}\n  spend:"))
    assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'visits'::regclass") == 4
    define(conn, BASIC)
    assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'visits'::regclass") == 0
    conn.execute("INSERT INTO visits VALUES (1, now())")


def test_missing_indexes_are_created_and_can_be_declined(conn: Connection) -> None:
    made = define(conn, BASIC, create_indexes=False)
    assert len(made.indexes) == 1
    assert (
        one(
            conn,
            "SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_customer_id_rescore_idx'",
        )
        == 0
    )
    define(conn, BASIC)
    assert (
        one(
            conn,
            "SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_customer_id_rescore_idx'",
        )
        == 1
    )


ADOPTED = {
    "not null columns": "CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, name text NOT NULL)",
    "identity key": "CREATE TABLE customer_profile (customer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)",
    "serial key": "CREATE TABLE customer_profile (customer_id bigserial PRIMARY KEY, name text)",
}


@pytest.mark.parametrize("table", ADOPTED.values(), ids=ADOPTED.keys())
def test_a_table_only_the_application_can_fill(conn: Connection, table: str) -> None:
    conn.execute(table.encode())
    insert = b"INSERT INTO customer_profile (name) VALUES ('x')"
    if "NOT NULL" in table:
        insert = b"INSERT INTO customer_profile (customer_id, name) VALUES (1, 'x')"
    conn.execute(insert)
    made = define(conn, BASIC)
    assert any("only the application can fill" in n for n in made.notes)
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (2, 8), (2, 1)")
    assert one(conn, "SELECT customer_id, orders, spend FROM customer_profile") == (1, 1, 5)
    # The second customer's events count as soon as the application makes the row.
    conn.execute(insert.replace(b"VALUES (1,", b"VALUES (2,"))
    assert one(
        conn,
        "SELECT orders, spend, churn_score IS NOT NULL FROM customer_profile WHERE customer_id = 2",
    ) == (2, 9, True)
    assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0


def test_a_serial_column_beside_the_key_is_not_burnt(conn: Connection) -> None:
    conn.execute("CREATE TABLE customer_profile (customer_id int PRIMARY KEY, n serial, plan text)")
    define(conn, BASIC)
    for _ in range(5):
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (2, 5)")
    assert one(conn, "SELECT max(n) FROM customer_profile") == 2


def test_adopted_columns_may_come_go_and_change_names(conn: Connection) -> None:
    conn.execute(
        "CREATE TABLE customer_profile (gone text, customer_id bigint PRIMARY KEY, age int, note text)"
    )
    conn.execute("ALTER TABLE customer_profile DROP COLUMN gone")
    define(conn, BASIC.replace("  spend:", "  age: {column: age}\n  spend:"))
    publish(conn)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    conn.execute("ALTER TABLE customer_profile ADD COLUMN extra text DEFAULT 'x', DROP COLUMN note")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    score = "SELECT orders, churn_score = rescore.predict('churn', p) FROM customer_profile AS p"
    assert one(conn, score) == (2, True)
    conn.execute("ALTER TABLE customer_profile RENAME COLUMN age TO years")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, "SELECT orders, churn_score_at IS NULL FROM customer_profile") == (3, True)
    assert one(conn, "SELECT count(*) FROM rescore.incidents") == 1


REFUSED = {
    "deferrable key": (
        "CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY DEFERRABLE)",
        BASIC,
        'profile.key: the unique constraint on "customer_id" is deferrable',
    ),
    "no unique key": (
        "CREATE TABLE customer_profile (customer_id bigint)",
        BASIC,
        'profile.key: the unique constraint on "customer_id" is missing',
    ),
    "key of another type": (
        "CREATE TABLE customer_profile (customer_id text PRIMARY KEY)",
        BASIC,
        'profile.key: column "customer_id" is of type text, not bigint',
    ),
    "a name taken": (
        "CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, spend int)",
        BASIC,
        'table public.customer_profile already has a column "spend"',
    ),
    "unknown event column": (
        "",
        BASIC.replace("amount", "amonut"),
        'feature spend: event table orders has no column "amonut"',
    ),
    "wrong type": (
        "",
        BASIC.replace("sum: amount", "sum: channel"),
        'feature spend: column "channel" is of type text',
    ),
    "missing table": (
        "",
        BASIC.replace("{orders: {time", "{orders: {table: ordres, time"),
        "events.orders: table ordres does not exist",
    ),
    "unknown key column": (
        "",
        BASIC.replace("{time: ordered_at}", "{time: ordered_at, key: client}"),
        'has no column "client"',
    ),
    "a condition that is not boolean": (
        "",
        BASIC.replace("count: true}", 'count: true, where: "amount + 1"}'),
        "feature orders: argument of WHERE must be type boolean",
    ),
    "only over a counter": (
        "CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY)",
        BASIC.replace("type: bigint}}", "type: bigint}, only: orders > 3}"),
        'profile.only: "orders" is kept by rescore',
    ),
    "a label's condition that is not boolean": (
        "",
        BASIC + "labels: {big: {any: orders, within: 9 days, where: amount + 1}}",
        "label big: argument of WHERE must be type boolean",
    ),
    "a condition on an unknown column": (
        "",
        BASIC.replace("count: true}", 'count: true, where: "amnt > 1"}'),
        "amnt",
    ),
    "the past of an unknown column": (
        "CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, age int)",
        BASIC.replace("type: bigint}}", "type: bigint}, history: {aeg: static}}"),
        'profile.history: table public.customer_profile has no column "aeg"',
    ),
    "a plain column without a table": (
        "",
        BASIC.replace("  spend:", "  age: {column: age}\n  spend:"),
        'plain column "age", but table customer_profile does not exist',
    ),
}


@pytest.mark.parametrize(("table", "text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_and_nothing_changes(
    conn: Connection, table: str, text: str, message: str
) -> None:
    if table:
        conn.execute(table.encode())
    before = catalogue(conn)
    with pytest.raises((DoesNotFit, BadDefinition)) as caught:
        define(conn, text)
    assert message in str(caught.value)
    assert caught.value.hint
    assert catalogue(conn) == before


def test_tables_called_almost_so_are_named(conn: Connection) -> None:
    conn.execute(
        b'CREATE SCHEMA "Ops"; CREATE TABLE "Ops"."Refunds" (customer_id bigint, "Sum" int)'
    )
    wrong = BASIC.replace(
        "{orders: {time", "{refunds: {table: Ops.Refunds}, gone: {}, orders: {time"
    )
    with pytest.raises(DoesNotFit) as caught:
        define(conn, wrong)
    assert str(caught.value).startswith("events.refunds: table Ops.Refunds does not exist")
    assert "Also: events.gone: table gone does not exist" in caught.value.detail
    assert caught.value.hint == """Did you mean "Ops"."Refunds"? In YAML: '"Ops"."Refunds"'."""
    wrong = BASIC.replace(
        "{orders: {time", """{refunds: {table: '"Ops"."Refunds"'}, orders: {time"""
    )
    with pytest.raises(DoesNotFit) as caught:
        define(conn, wrong.replace("\nfeatures:", "\nfeatures:\n  back: {from: refunds, sum: sum}"))
    assert caught.value.hint == 'Did you mean "Sum"?'


EVERYWHERE = """
profile: {table: people, key: {name: id, type: bigint}, only: "sttaus = 'on'", history: {plan: moves, palce: static}}
links: {cart: {table: carts, on: cart, gives: custmer}}
events:
  orders: {time: ordered, known_at: booked, key: customer_id}
  moves: {time: at, key: id}
  clicks: {table: orders, time: ordered_at, via: cart}
features:
  spend: {from: orders, sum: amuont}
  big: {from: orders, count: true, where: "amonut > 9 AND chanel = 'web'"}
  age: {column: aeg}
labels:
  gone: {table: leavers, at: left_at, key: id, known_at: told_at, within: 9 days, where: "why <> ''"}
  lapsed: {none: orders, within: 9 days, where: "kind = 'x'"}
interventions: {table: offers, time: sent, key: id, holdout: 5%, where: "sort = 'mail'"}
models: {churn: {label: lapsed}}
scores: {churn_score: {model: churn}}
"""
SEVERAL = b"""
CREATE TABLE people (id bigint PRIMARY KEY, status text, plan text, place text, age int);
CREATE TABLE carts (cart_id bigint PRIMARY KEY, customer bigint);
CREATE TABLE moves (id bigint, at timestamptz); CREATE TABLE leavers (id bigint, at timestamptz);
CREATE TABLE offers (id bigint, sent_at timestamptz, kind text);
"""


def test_columns_that_are_not_there_are_named_at_once(conn: Connection) -> None:
    wrong = BASIC.replace("amount}", "amonut}").replace("{time: ordered_at", "{time: ordered")
    wrong = wrong.replace("count: true}", "count: true, where: \"chanel = 'web'\"}")
    with pytest.raises(DoesNotFit) as caught:
        define(conn, wrong)
    assert str(caught.value).splitlines() == [
        'events.orders.time: table public.orders has no column "ordered"',
        "DETAIL: Its columns are amount, channel, customer_id, order_id, ordered_at.",
        'Also: feature spend: event table orders has no column "amonut". Did you mean "amount"?',
        'Also: feature orders: SQL expression: there is no column "chanel". Did you mean "channel"?',
        'HINT: Did you mean "ordered_at"?',
    ]


def test_whatever_names_a_column_is_looked_at(conn: Connection) -> None:
    conn.execute(SEVERAL)
    with pytest.raises(DoesNotFit) as caught:
        define(conn, EVERYWHERE)
    first, *told = str(caught.value).splitlines()
    others = [line.removeprefix("Also: ") for line in told if line.startswith("Also: ")]
    missing = [
        line.partition(". Did")[0].partition(". Its")[0].partition(". Col")[0]
        for line in [first, *others]
    ]
    assert missing == [
        'profile.history: table public.moves has no column "plan"',
        'profile.history: table public.people has no column "palce"',
        'features.age: table public.people has no column "aeg"',
        'links.cart.on: table public.carts has no column "cart"',
        'links.cart.gives: table public.carts has no column "custmer"',
        'events.orders.time: table public.orders has no column "ordered"',
        'events.orders.known_at: table public.orders has no column "booked"',
        'events.clicks.via: table public.orders has no column "cart"',
        'labels.gone.at: table public.leavers has no column "left_at"',
        'labels.gone.known_at: table public.leavers has no column "told_at"',
        'interventions.time: table public.offers has no column "sent"',
    ]  # fmt: skip
    assert told[-2] == "And 7 more."
    repaired = EVERYWHERE.replace("ordered,", "ordered_at,").replace("booked", "ordered_at")
    for wrong, right in [
        ("plan: moves, palce", "place"), ("aeg", "age"), ("on: cart,", "on: cart_id,"),
        ("custmer", "customer"), ("left_at", "at"), ("told_at", "at"), ("time: sent,", "time: sent_at,"),
        ("via: cart", "key: customer_id"),
    ]:  # fmt: skip
        repaired = repaired.replace(wrong, right)
    with pytest.raises(DoesNotFit) as caught:
        define(conn, repaired)
    for place, name in [
        ("feature spend: event table orders has", "amuont"), ("feature big: SQL expression: there is", "amonut"),
        ("feature big: SQL expression: there is", "chanel"), ("label gone: SQL expression: there is", "why"),
        ("label lapsed: SQL expression: there is", "kind"),
        ("interventions.where: SQL expression: there is", "sort"), ("profile.only: SQL expression: there is", "sttaus"),
    ]:  # fmt: skip
        assert f'{place} no column "{name}"' in str(caught.value)
    assert str(caught.value).count("no column") == 7


@pytest.mark.parametrize(
    ("table", "hint"),
    [("Ops.profiles", 'Did you mean "Ops"?'), ("crm.profiles", 'Create it: CREATE SCHEMA "crm";')],
)
def test_a_schema_that_is_not_there(conn: Connection, table: str, hint: str) -> None:
    conn.execute(b'CREATE SCHEMA "Ops"')
    with pytest.raises(DoesNotFit, match=r"profile\.table: schema \w+ does not exist") as caught:
        plan(conn, parse(BASIC.replace("customer_profile", table)))
    assert caught.value.hint == hint


def test_a_new_profile_table_says_which_one_was_perhaps_meant(conn: Connection) -> None:
    conn.execute(b'CREATE TABLE "Customer_Profile" (customer_id bigint PRIMARY KEY)')
    notes = define(conn, BASIC).notes
    assert [note for note in notes if "is a new table, beside" in note] == [
        '"public"."customer_profile" is a new table, beside "Customer_Profile": '
        "write '\"Customer_Profile\"' to add to that one"
    ]


def test_a_label_without_an_index_is_told(conn: Connection) -> None:
    conn.execute(b'CREATE TABLE "Left" (client bigint, at timestamptz)')
    text = BASIC.replace(
        "{orders: {", """{gone: {table: '"Left"', time: at, key: client}, orders: {"""
    )
    text += "labels: {leaves: {any: gone, within: 30 days}}"
    (told,) = (note for note in define(conn, text).notes if "no index" in note)
    relation = '"public"."Left"'
    assert told.startswith(f'{relation} has no index on "client", by which labels are read')
    conn.execute(told.split(": ")[1].encode())
    assert not [note for note in define(conn, text).notes if "no index" in note]


def test_a_typo_is_refused_with_its_place() -> None:
    with pytest.raises(BadDefinition, match=r"count"):
        parse(BASIC.replace("count: true", "cuont: true"))


def test_without_an_installation(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn, pytest.raises(NotInstalled):
        define(conn, BASIC)


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        ("bigint", [1, 2]),
        ("text", ["a'b", "ü"]),
        ("uuid", ["6f0c6e3e-0d0a-4b0e-8f58-0a3f9a0b8d11", "6f0c6e3e-0d0a-4b0e-8f58-0a3f9a0b8d12"]),
    ],
)
def test_every_key_type(dsn: str, type_: str, keys: list[Any]) -> None:
    with open_profile(
        dsn,
        ORDERS.replace("customer_id bigint", f"customer_id {type_}"),
        BASIC.replace("type: bigint", f"type: {type_}"),
    ) as conn:
        insert = f"INSERT INTO orders (customer_id, amount) VALUES (%s::{type_}, 5), (%s::{type_}, 6), (%s::{type_}, 7)"
        conn.execute(insert.encode(), [keys[0], keys[0], keys[1]])
        rows = conn.execute(
            "SELECT customer_id::text, orders FROM customer_profile ORDER BY orders"
        ).fetchall()
        assert rows == [(str(keys[1]), 1), (str(keys[0]), 2)]
        assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0


def test_any_legal_name_in_any_schema(conn: Connection) -> None:
    long = "Ä" + "x" * 61
    conn.execute('CREATE SCHEMA "we ird"')
    conn.execute(
        f'CREATE TABLE "we ird"."{long}" ("select" int, "at""x" timestamp, "va lue" real)'.encode()
    )
    define(
        conn,
        f"""
profile: {{table: '"we ird"."My Profile"', key: {{name: "order", type: bigint}}}}
events:
  e1: {{table: '"we ird"."{long}"', time: 'at"x', key: select}}
features:
  "the 'count'": {{from: e1, count: true, where: '"va lue" > 1'}}
  total: {{from: e1, sum: 'va lue'}}
  last: {{from: e1, days_since: last}}
models: {{m: {{features: all}}}}
scores: {{"my score": {{model: m}}}}
""",
    )
    publish(conn, "m")
    conn.execute(
        f"""INSERT INTO "we ird"."{long}" VALUES (1, timezone('UTC', now()), 2.5),
            (1, timezone('UTC', now()), 0.5), (2, NULL, 3)""".encode()
    )
    row = one(
        conn,
        """SELECT "the 'count'", total, "my score" IS NOT NULL FROM "we ird"."My Profile" WHERE "order" = 1""",
    )
    assert row == (1, 3, True)
    name = '"we ird"."My Profile"'
    assert one(conn, "SELECT count(*) FROM rescore.verify(%s)", name) == 0


@pytest.mark.parametrize("trigger", ["statement", "row"])
def test_partitioned_events(dsn: str, trigger: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(b"""
            CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(10,2)) PARTITION BY RANGE (ordered_at);
            CREATE TABLE orders_23 PARTITION OF orders FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
            CREATE TABLE orders_24 PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')""")
        define(
            conn, BASIC.replace("{time: ordered_at}", f"{{time: ordered_at, trigger: {trigger}}}")
        )
        conn.execute(
            "INSERT INTO orders VALUES (1, '2023-05-01', 5), (1, '2024-05-01', 6), (2, '2024-06-01', 7)"
        )
        conn.execute("UPDATE orders SET ordered_at = '2024-07-01', amount = 50 WHERE amount = 5")
        conn.execute("DELETE FROM orders WHERE amount = 7")
        if trigger == "row":  # into the partition itself: only row triggers see it
            conn.execute("INSERT INTO orders_23 VALUES (1, '2023-06-01', 100)")
        expected = (2, 56) if trigger == "statement" else (3, 156)
        assert (
            one(conn, "SELECT orders, spend FROM customer_profile WHERE customer_id = 1")
            == expected
        )
        assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0
        conn.execute("TRUNCATE orders")
        assert one(conn, "SELECT sum(orders), sum(spend) FROM customer_profile") == (0, 0)


def test_two_profiles_share_an_event_table(conn: Connection) -> None:
    conn.execute("ALTER TABLE orders ADD COLUMN shop text")
    define(conn, BASIC)
    define(
        conn,
        BASIC.replace("customer_profile", "shops")
        .replace("customer_id, type: bigint", "shop, type: text")
        .replace("churn", "revenue"),
    )
    publish(conn)
    publish(conn, "revenue")
    conn.execute("INSERT INTO orders (customer_id, shop, amount) VALUES (1, '7', 5), (2, '7', 6)")
    assert one(conn, "SELECT orders, spend FROM shops WHERE shop = '7'") == (2, 11)
    assert one(conn, "SELECT count(*), sum(orders) FROM customer_profile") == (2, 2)
    for model, key in (("churn", "1"), ("revenue", "7")):
        table, column = (
            ("customer_profile", "churn_score") if model == "churn" else ("shops", "revenue_score")
        )
        name = "customer_id" if model == "churn" else "shop"
        live = one(conn, "SELECT rescore.predict_key(%s, %s)", model, key)
        assert live == one(conn, f"SELECT {column} FROM {table} WHERE {name}::text = %s", key)


def test_a_model_name_belongs_to_one_profile(conn: Connection) -> None:
    conn.execute("ALTER TABLE orders ADD COLUMN shop text")
    define(conn, BASIC)
    other = BASIC.replace("customer_profile", "shops").replace(
        "customer_id, type: bigint", "shop, type: text"
    )
    with pytest.raises(DoesNotFit, match="model churn belongs to profile customer_profile"):
        define(conn, other)
    publish(conn)  # whatever its versions read
    other = other.replace("  orders: {from", "  purchases: {from")
    with pytest.raises(DoesNotFit, match="model churn belongs to profile customer_profile"):
        define(conn, other)


@pytest.mark.parametrize("engine", ["auto", "python"])
def test_two_hundred_features(conn: Connection, engine: str) -> None:
    features = "\n".join(
        f'  f{i}: {{from: orders, count: true, where: "amount > {i}"}}' for i in range(200)
    )
    text = BASIC.replace("  orders: {from: orders, count: true}", features)
    define(conn, text.replace("{features: all}", f"{{features: all, engine: {engine}}}"))
    publish(conn)
    conn.execute(
        "INSERT INTO orders (customer_id, amount) SELECT i % 3, i FROM generate_series(1, 250) AS i"
    )
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 77.5)")
    assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0
    difference = "SELECT max(abs(churn_score - rescore.predict('churn', p))), count(*) FROM customer_profile AS p"
    worst, rows = one(conn, difference)
    assert rows == 3 and worst < 1e-9
    assert one(conn, "SELECT rescore.verify_model('churn')") < 1e-9


def test_windows_counted_without_a_clock_are_told(conn: Connection) -> None:
    windows = BASIC.replace(
        "features:", "features:\n  last_30d: {from: orders, count: true, window: 30 days}", 1
    )
    replay = windows.replace("profile: {", "profile: {clock: session, ", 1)
    assert replay != windows and windows != BASIC
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount) VALUES (1, '1998-01-05 00:00+00', 10)"
    )
    (told,) = [note for note in define(conn, replay).notes if "rescore.clock" in note]
    assert "run `rescore rebuild customer_profile`" in told
    conn.execute("SET rescore.clock = '1998-01-06 00:00+00'")
    conn.execute("SELECT rescore.rebuild('customer_profile')")
    assert one(conn, "SELECT last_30d FROM customer_profile") == 1
    later = replay.replace("window: 30 days", "window: 29 days")
    assert not [note for note in define(conn, later).notes if "rescore.clock" in note]


LEARNING = BASIC.replace(
    "models: {churn: {features: all}}",
    """labels: {churned: {none: orders, within: 30 days}}
models: {churn: {features: all, label: churned, learn: {batch: 500}}}""",
)


def written(conn: Connection) -> list[Any]:
    return [each for each in catalogue(conn) if each[0] in ("function", "trigger")]


def test_how_a_model_learns_is_changed_beside_writers(conn: Connection) -> None:
    define(conn, LEARNING)
    publish(conn)
    before = written(conn)
    more = LEARNING.replace("batch: 500", "batch: 900, margin: 0.1")
    with psycopg.connect(conn.info.dsn) as writer:
        writer.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
        assert not plan(conn, parse(more)).sql
        made = apply(conn, parse(more), lock_timeout=0.05, attempts=1)
        assert made.changes == ["keep what the definition says; functions stay"]
    assert one(conn, "SELECT spec #>> '{learn,batch}' FROM rescore.deployments") == "900"
    assert written(conn) == before
    assert define(conn, more).empty
    assert one(conn, "SELECT churn_score FROM customer_profile") is not None
