"""Labels of snapshots: early, late, corrected, censored, treated; and why a score was what it was."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from rescore.errors import DoesNotFit
from rescore.tests.snapshot_shop import (
    DEFINITION,
    Connection,
    at,
    connected,
    labels,
    order,
    resolve,
    shop,
    snapshot,
)
from rescore.tests.support import define, one, publish
from rescore.trainer import examples as ex
from rescore.trainer.split import Moment

ROW = """SELECT label, censored, early, resolved IS NOT NULL, label_first, corrected_at IS NOT NULL
         FROM rescore.snapshots WHERE model = '{model}' AND key = '1'"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


@pytest.fixture
def full(dsn: str) -> Iterator[Connection]:
    """Installed by a superuser, with PL/Python."""
    with connected(dsn) as made:
        yield made


def row(conn: Connection, model: str) -> tuple[object, ...]:
    found: tuple[object, ...] = one(conn, ROW.format(model=model))
    return found


def unpaid(conn: Connection, customer: int, moment: str, known: str) -> None:
    conn.execute(
        "INSERT INTO unpaid_list VALUES (%s, %s, %s)", [customer, f"{moment}Z", f"{known}Z"]
    )


def test_an_early_positive_is_shown_apart_until_its_horizon_is_over(conn: Connection) -> None:
    shop(conn, customers=3, models=("dun", "lose"))
    snapshot(conn)
    unpaid(conn, 1, "2026-01-03", "2026-01-04")
    at(conn, "2026-01-05")
    assert resolve(conn) == 0
    assert row(conn, "dun") == (None, False, True, False, None, False)
    shown = "SELECT open, positive FROM rescore.early_outcomes WHERE model = 'dun'"
    assert one(conn, shown) == (3, 1)
    at(conn, "2026-01-15 23:59:59+00")  # the horizon of 10 days is over, settling is not
    assert resolve(conn) == 0
    at(conn, "2026-01-16")
    assert resolve(conn) == 6  # with the three of `gone`, due at the same moment
    assert row(conn, "dun") == (1.0, False, False, True, None, False)


def test_what_another_session_resolves_is_gone_around(conn: Connection, plain_dsn: str) -> None:
    shop(conn, customers=6, models=("dun",))
    snapshot(conn)
    at(conn, "2026-01-16")
    with psycopg.connect(plain_dsn) as other:
        at(other, "2026-01-16")
        assert one(other, "SELECT rescore._resolve_step('customers', 2)") == 2
        conn.execute("SET lock_timeout = '2s'")
        assert one(conn, "SELECT rescore._resolve_step('customers', 3)") == 3
        assert one(conn, "SELECT rescore._resolve_step('customers', 3)") == 1
        assert one(conn, "SELECT rescore._resolve_step('customers', 3)") == 0
        other.commit()
    shown = "SELECT count(*), count(label), min(resolved) < max(resolved) FROM rescore.snapshots"
    assert one(conn, shown) == (6, 6, True)


def test_early_outcomes_are_looked_for_batch_by_batch(conn: Connection) -> None:
    """All snapshots of a round are of one moment: the next batch begins within it."""
    shop(conn, customers=5, models=("dun",))
    snapshot(conn)
    for customer in range(1, 6):
        unpaid(conn, customer, "2026-01-03", "2026-01-04")
    at(conn, "2026-01-05")
    conn.execute("SET statement_timeout = '20s'")
    conn.execute("CALL rescore.log_snapshots('customers', 1)")
    early = "SELECT count(*) FROM rescore.snapshots WHERE model = 'dun' AND early"
    assert one(conn, early) == 5


def test_what_becomes_known_later_corrects_the_label_but_not_when_it_was_resolved(
    conn: Connection,
) -> None:
    shop(conn, customers=2, models=("churn", "dun"))
    snapshot(conn)
    at(conn, "2026-01-31")
    resolve(conn)
    first = one(
        conn,
        "SELECT resolved, resolved_at FROM rescore.snapshots WHERE model = 'churn' AND key = '1'",
    )
    order(conn, 1, "2026-01-20")
    unpaid(conn, 1, "2026-01-05", "2026-02-10")
    at(conn, "2026-02-01")
    resolve(conn)
    assert row(conn, "churn") == (0.0, False, False, True, 1.0, True)
    assert row(conn, "dun") == (0.0, False, False, True, None, False)
    at(conn, "2026-02-11")
    resolve(conn)
    assert row(conn, "dun") == (1.0, False, False, True, 0.0, True)
    again = one(
        conn,
        "SELECT resolved, resolved_at FROM rescore.snapshots WHERE model = 'churn' AND key = '1'",
    )
    assert again == first


def test_the_first_label_is_kept_however_often_it_is_corrected(conn: Connection) -> None:
    shop(conn, customers=1, models=("dun",))
    snapshot(conn)
    at(conn, "2026-01-16")
    assert resolve(conn) == 1
    unpaid(conn, 1, "2026-01-03", "2026-01-16")
    resolve(conn)
    assert row(conn, "dun")[0::4] == (1.0, 0.0)
    conn.execute("DELETE FROM unpaid_list")
    resolve(conn)
    assert row(conn, "dun")[0::4] == (0.0, 0.0)


def test_a_censored_outcome_is_no_example_and_an_event_before_it_is(conn: Connection) -> None:
    shop(conn, customers=3, models=("leave",))
    snapshot(conn)
    for customer, cancelled in ((1, None), (2, "2026-01-08"), (3, "2026-01-12")):
        unpaid(conn, customer, "2026-01-10", "2026-01-10")
        if cancelled:
            conn.execute("INSERT INTO plans VALUES (%s, %s, 'cancel')", [customer, f"{cancelled}Z"])
    at(conn, "2026-01-26")
    resolve(conn)
    query = b"SELECT key, label, censored FROM rescore.snapshots WHERE model = 'leave' ORDER BY key"
    assert conn.execute(query).fetchall() == [
        ("1", None, True),
        ("2", 1.0, False),
        ("3", None, True),
    ]


def test_a_horizon_made_longer_is_waited_for(conn: Connection) -> None:
    shop(conn, customers=2, models=("churn",))
    snapshot(conn)
    define(conn, DEFINITION.replace("within: 30 days}", "within: 40 days}"))
    at(conn, "2026-01-31")
    resolve(conn)
    assert labels(conn) == {1: None, 2: None}
    assert (
        one(conn, "SELECT DISTINCT due_at = timestamptz '2026-02-10Z' FROM rescore.snapshots")
        is True
    )
    at(conn, "2026-02-10")
    assert resolve(conn) == 2


def test_numbers_are_of_examples_and_treatment_is_told_by_who_was_held_out(
    conn: Connection,
) -> None:
    shop(conn, customers=200, models=("churn",))
    snapshot(conn)
    conn.execute(
        """INSERT INTO offers SELECT customer_id, timestamptz '2026-01-02Z', 'rebate' FROM customers WHERE NOT holdout AND customer_id <= 100
           UNION ALL SELECT customer_id, '2026-01-03Z', 'newsletter' FROM customers"""
    )
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at) SELECT customer_id, timestamptz '2026-01-05Z' FROM offers WHERE kind = 'rebate'"
    )
    at(conn, "2026-01-31")
    resolve(conn)
    held, treated = one(
        conn,
        "SELECT count(*) FILTER (WHERE holdout), count(*) FILTER (WHERE NOT holdout AND customer_id <= 100) FROM customers",
    )
    quality = "SELECT snapshots, treated, examples, base_rate, log_loss > 0 FROM rescore.live_quality WHERE {}"
    assert one(conn, quality.format("holdout")) == (held, 0, held, 1.0, True)
    others = 200 - held
    assert one(conn, quality.format("NOT holdout")) == (
        others,
        treated,
        others - treated,
        1.0,
        True,
    )
    difference, per_treated = one(conn, "SELECT difference, per_treated FROM rescore.uplift")
    assert difference == pytest.approx(-treated / others)
    assert per_treated == pytest.approx(-1.0)


def test_training_takes_the_same_labels(conn: Connection) -> None:
    shop(conn, customers=6)
    snapshot(conn)
    unpaid(conn, 1, "2026-01-03", "2026-01-04")
    conn.execute("INSERT INTO plans VALUES (2, '2026-01-09Z', 'cancel')")
    conn.execute("INSERT INTO offers VALUES (3, '2026-01-02Z', 'rebate')")
    order(conn, 4, "2026-01-02")
    at(conn, "2026-02-01")
    resolve(conn)
    for model in ("churn", "leave", "dun", "lose"):
        source = ex.read_source(conn, model)
        now, then = one(conn, "SELECT rescore.clock(), timestamptz '2026-01-01Z'")
        contract = ex.frozen_contract(conn, source, [Moment(then, now)])
        columns = [expression for _, expression in ex.design_columns(conn, contract)]
        found = ex.read_examples(conn, source, columns, Moment(then, now))
        query = """SELECT label::int, design FROM rescore.snapshots WHERE model = %s AND NOT censored AND treated_at IS NULL
                   ORDER BY key::int"""
        expected = conn.execute(query.encode(), [model]).fetchall()
        assert [
            (int(y), list(x)) for x, y in zip(found.design, found.labels, strict=True)
        ] == expected


def test_a_past_score_is_explained_by_the_version_that_gave_it(conn: Connection) -> None:
    shop(conn, customers=3, models=("churn",))
    snapshot(conn)
    publish(conn, seed=11)
    order(conn, 2, "2026-01-02")
    at(conn, "2026-01-02")
    snapshot(conn)
    told = "SELECT 1 / (1 + exp(-sum(contribution))) FROM rescore.explain('churn', 2, {})"
    scores = [
        s
        for (s,) in conn.execute(
            "SELECT score FROM rescore.snapshots WHERE key = '2' ORDER BY taken_at"
        )
    ]
    assert one(conn, told.format("timestamptz '2026-01-01 12:00Z'")) == pytest.approx(scores[0])
    assert one(conn, told.format("'infinity'")) == pytest.approx(scores[1])
    by_id = "SELECT 1 / (1 + exp(-sum(e.contribution))) FROM rescore.snapshots AS s, rescore.explain_snapshot(s.id) AS e WHERE s.key = '2' GROUP BY s.id ORDER BY s.id"
    assert [s for (s,) in conn.execute(by_id.encode())] == pytest.approx(scores)
    for wrong in (
        "explain('churn', 2, '2025-01-01Z')",
        "explain_snapshot(0)",
        "explain('churn', 9, now())",
    ):
        with pytest.raises(psycopg.Error) as caught:
            one(conn, f"SELECT count(*) FROM rescore.{wrong}")
        assert caught.value.sqlstate == "RS025"


def test_trainers_log_and_resolve_and_readers_see_no_customer(full: Connection) -> None:
    shop(full, customers=3, models=("churn",))
    full.execute("SET ROLE rescore_trainer")
    assert snapshot(full) == 3
    at(full, "2026-01-31")
    assert resolve(full) == 3
    full.execute("SET ROLE rescore_reader")
    assert one(full, "SELECT sum(examples) FROM rescore.live_quality") == 3
    for query in (
        "SELECT rescore.snapshot('customers')",
        "SELECT rescore.resolve('customers')",
        "SELECT count(*) FROM rescore.snapshots",
        "SELECT count(*) FROM rescore.explain('churn', 1, now())",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            full.execute(query.encode())
    full.execute("RESET ROLE")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("at: churned_on", "at: client", 'labels.unpaid.at: column "client" is of type bigint'),
        ("at: churned_on", "at: churned", 'labels.unpaid.at: table public.unpaid_list has no column'),
        ("key: client", "key: booked_on", "labels.unpaid.key: column"),
        ("table: unpaid_list", "table: nobody", 'labels.unpaid: table nobody does not exist'),
        ("table: offers", "table: nothing", 'interventions.table: table nothing does not exist'),
        ("kind <> 'newsletter'", "kind2 = 'x'", "interventions.where"),
    ],
)  # fmt: skip
def test_what_the_tables_have_not_is_refused(
    conn: Connection, old: str, new: str, said: str
) -> None:
    with pytest.raises(DoesNotFit, match=said):
        define(conn, DEFINITION.replace(old, new))
