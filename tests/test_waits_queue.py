"""Who waits for whom where events are queued: folds, rebuilds, and what a full queue counts at commit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescore.tests.queue_shop import (
    DEFINITION,
    FOLD,
    SHOP,
    Connection,
    fill,
    right,
    use,
    waiting,
)
from rescore.tests.support import one, open_profile
from rescore.tests.waiting import UNSORTED, is_free, open_transaction, waits

GONE = "DELETE FROM customers WHERE customer_id = 7"
REBUILD = "SELECT rescore.rebuild('customers')"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        yield made


@pytest.mark.parametrize("statement", [FOLD, REBUILD], ids=["fold", "rebuild"])
def test_what_waits_for_a_deletion_counts_what_came_since(
    conn: Connection, plain_dsn: str, statement: str
) -> None:
    use(conn, 1)  # a rebuild takes away only what waits when it begins
    conn.execute("INSERT INTO customers (customer_id) VALUES (7)")
    with open_transaction(plain_dsn, GONE) as other:
        use(conn, 7)
        with waits(conn, plain_dsn, statement):
            other.commit()
    assert waiting(conn) == 0
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 7") == 1
    assert right(conn)


def test_what_comes_during_a_recount_is_left_to_the_next_fold(
    conn: Connection, plain_dsn: str
) -> None:
    use(conn, 7)
    conn.execute(FOLD)
    use(conn, 7)
    conn.execute(
        """CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END'"""
    )
    conn.execute(
        "CREATE TRIGGER stop BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stop()"
    )
    with (
        open_transaction(plain_dsn, "SELECT pg_advisory_xact_lock(7)") as other,
        waits(conn, plain_dsn, REBUILD),
    ):
        use(conn, 7)
        other.commit()
    assert waiting(conn) == 1
    conn.execute(FOLD)
    assert one(conn, "SELECT used FROM customers") == 3
    assert right(conn)


def test_requests_for_everybody_are_locked_in_their_order(conn: Connection, plain_dsn: str) -> None:
    fill(conn)
    conn.execute(
        "INSERT INTO rescore.queue (profile, came) SELECT 'customers', false FROM generate_series(1, 2)"
    )
    row = "SELECT FROM rescore.queue WHERE id = (SELECT {}(id) FROM rescore.queue WHERE key IS NULL) FOR UPDATE"
    # The first now lies behind the second.
    conn.execute(
        "UPDATE rescore.queue SET came = came WHERE id = (SELECT min(id) FROM rescore.queue WHERE key IS NULL)"
    )
    event = "INSERT INTO usage (customer_id, amount) VALUES (8, 5)"
    options = f"{UNSORTED} -c default_transaction_isolation=repeatable\\ read"
    with (
        open_transaction(plain_dsn, row.format("min")) as other,
        waits(conn, plain_dsn, event, options),
    ):
        assert is_free(plain_dsn, row.format("max"))
        other.rollback()
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 8") == 1
