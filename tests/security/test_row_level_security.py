"""Rows that a policy hides stay hidden from whoever scores, explains or learns; counters see all."""

from __future__ import annotations

import psycopg
import pytest

from rescore.tests.security.conftest import Connection, Stage
from rescore.tests.support import one

SEEN, HIDDEN, NOBODY = 101, 102, 999
POLICIES = """
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY northern ON shop.customers TO viewer, learner USING (region = 'north');
UPDATE shop.customers SET region = 'south' WHERE customer_id % 2 = 0;
GRANT SELECT ON shop.orders, shop.clicks, shop.sessions TO viewer;
"""


@pytest.fixture
def policed(stage: Stage) -> Stage:
    """Customers of the south, with even keys, are hidden from viewer and learner."""
    stage.connect("app_owner").execute(POLICIES.encode())
    return stage


@pytest.fixture
def viewer(policed: Stage) -> Connection:
    return policed.connect("viewer")


def test_predict_over_the_table_scores_what_may_be_seen(viewer: Connection) -> None:
    query = "SELECT count(*), bool_or(p.customer_id % 2 = 0), count(rescore.predict('churn', p)) FROM shop.customers AS p"
    assert one(viewer, query) == (30, False, 30)


@pytest.mark.parametrize(
    "call",
    [
        "SELECT rescore.predict_key('churn', %s)",
        "SELECT rescore.predict_key('churn', %s::text)",
        "SELECT rescore.predict_key('churn', %s, '{\"orders\": 5}')",
        "SELECT rescore.predict_key('churn', %s, at => '2024-06-01 00:00+00')",
        "SELECT rescore.predict_key('churn', %s, '{\"orders\": 5}', '2024-06-01 00:00+00')",
        "SELECT sum(contribution) FROM rescore.explain('churn', %s)",
        "SELECT orders FROM rescore_compiled.shop_customers__live(%s)",
        "SELECT max(orders) FROM rescore_compiled.shop_customers__as_of('2024-06-01 00:00+00', ARRAY[%s::int8])",
    ],
)
def test_by_key_a_hidden_customer_is_as_one_who_is_not_there(
    policed: Stage, viewer: Connection, call: str
) -> None:
    assert one(viewer, call, SEEN) is not None
    assert one(viewer, call, HIDDEN) is None
    assert one(viewer, call, NOBODY) is None
    assert one(policed.connect(), call, HIDDEN) is not None


def test_a_function_that_tells_what_it_is_given_is_given_nothing_hidden(
    viewer: Connection,
) -> None:
    told: list[str] = []
    viewer.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    viewer.execute(
        """CREATE FUNCTION pg_temp.told(key bigint, score float8) RETURNS boolean LANGUAGE plpgsql COST 0.0001
           AS $$ BEGIN RAISE NOTICE '%', key; RETURN true; END $$"""
    )
    query = """SELECT count(*) FROM shop.customers AS p
               WHERE pg_temp.told(p.customer_id, rescore.predict('churn', p)) AND rescore.predict('churn', p) >= 0"""
    assert one(viewer, query) == 30
    assert {int(key) % 2 for key in told} == {1}


def test_who_learns_sees_no_more(policed: Stage) -> None:
    learner = policed.connect("learner")
    query = "SELECT count(*), bool_or(rescore_key % 2 = 0) FROM rescore_compiled.shop_customers__as_of('2025-01-01 00:00+00')"
    assert one(learner, query) == (30, False)
    assert one(learner, "SELECT rescore.verify_model('churn')") < 1e-9


def test_what_was_logged_of_a_hidden_customer_is_not_explained(policed: Stage) -> None:
    root, learner = policed.connect(), policed.connect("learner")
    root.execute("SELECT rescore.snapshot('shop.customers')")
    ids = dict(root.execute("SELECT key, id FROM rescore.snapshots").fetchall())
    past = "SELECT count(*) FROM rescore.explain('churn', %s, now())"
    by_id = "SELECT count(*) FROM rescore.explain_snapshot(%s)"
    for conn, hidden in ((root, False), (policed.connect("chief"), False), (learner, True)):
        assert one(conn, past, SEEN) > 5
        assert one(conn, by_id, ids[str(SEEN)]) > 5
        for query, given in ((past, HIDDEN), (past, NOBODY), (by_id, ids[str(HIDDEN)])):
            if hidden or given == NOBODY:
                with pytest.raises(psycopg.Error) as caught:
                    conn.execute(query.encode(), [given])
                told = (caught.value.sqlstate, caught.value.diag.message_detail)
                assert told[0] == "RS025"
                assert query == by_id or told[1] == "None was logged at all."
            else:
                assert one(conn, query, given) > 5


def test_views_of_rescore_tell_of_no_customer(policed: Stage, viewer: Connection) -> None:
    owner = policed.connect("app_owner")
    owner.execute("INSERT INTO shop.customers VALUES (918273645, 'pro', 'south')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        viewer.execute("SELECT * FROM rescore.incidents")
    views = ("health", "model_version", "model_quality")
    query = " UNION ALL ".join(f"SELECT v::text FROM rescore.{view} AS v" for view in views)
    rows = viewer.execute(query.encode()).fetchall()
    assert len(rows) > 4
    assert not any("918273645" in row for (row,) in rows)


def test_counters_count_what_the_application_may_not_see(policed: Stage) -> None:
    owner, app = policed.connect("app_owner"), policed.connect("app")
    owner.execute("ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY")
    owner.execute("CREATE POLICY append ON shop.orders FOR INSERT TO app WITH CHECK (amount > 0)")
    app.execute("INSERT INTO shop.orders (customer_id, amount) VALUES (102, 5), (103, 6)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute("INSERT INTO shop.orders (customer_id, amount) VALUES (102, -5)")
    root = policed.connect()
    query = "SELECT orders, biggest FROM shop.customers WHERE customer_id = 102"
    assert one(root, query) == (13, 22)
    assert root.execute("SELECT * FROM rescore.verify('shop.customers')").fetchall() == []


def test_counters_err_rather_than_miss_what_their_owner_may_not_see(policed: Stage) -> None:
    """Forced on the owner too, as on no table that apply accepts: the event is refused, aloud."""
    policed.connect("app_owner").execute("ALTER TABLE shop.customers FORCE ROW LEVEL SECURITY")
    app = policed.connect("app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute("INSERT INTO shop.orders (customer_id, amount) VALUES (102, 5)")
