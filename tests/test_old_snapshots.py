"""Who counts customers by an older snapshot, since the queue is full, fails where others have counted them.

What came and went meanwhile may have left the row as it was. It is written all the same, so that the
older snapshot meets it: stored would else be what that snapshot still sees, and nobody would count again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import IsolationLevel

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
from rescore.tests.support import define, one, open_profile, publish

REBUILD = "SELECT rescore.rebuild('customers')"
Act = Callable[[Connection], object]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    """Customer 7 has used once, which is counted."""
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        define(made, DEFINITION)
        publish(made)
        use(made, 7)
        made.execute(FOLD)
        yield made


@contextmanager
def older(dsn: str, level: IsolationLevel = IsolationLevel.REPEATABLE_READ) -> Iterator[Connection]:
    """A transaction that sees what is there now."""
    with psycopg.connect(dsn) as old:
        old.isolation_level = level
        old.execute("SELECT 1")
        yield old


def used(conn: Connection) -> int:
    return int(one(conn, "SELECT used FROM customers WHERE customer_id = 7"))


def fold(conn: Connection) -> None:
    conn.execute(FOLD)


def rebuild(conn: Connection) -> None:
    conn.execute(REBUILD)


def refused(old: Connection, key: int) -> None:
    """Let an older snapshot count a customer: it fails, and would be tried again."""
    use(old, key)
    with pytest.raises(psycopg.errors.SerializationFailure):
        old.commit()


def folded_right(conn: Connection) -> bool:
    conn.execute(FOLD)
    return right(conn)


COUNTS = [fold, rebuild]
LEVELS = [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]


@pytest.mark.parametrize("level", LEVELS, ids=["repeatable", "serializable"])
@pytest.mark.parametrize("count", COUNTS)
def test_what_came_and_went_while_it_waited(
    conn: Connection, plain_dsn: str, count: Act, level: IsolationLevel
) -> None:
    use(conn, *range(1000, 1199))
    conn.execute("DELETE FROM usage WHERE customer_id = 7")
    assert waiting(conn) == 200
    with older(plain_dsn, level) as old:
        one(conn, "SELECT rows FROM rescore._fold_step('customers', 100)")  # there is room again
        use(conn, 7)
        count(conn)
        assert (used(conn), waiting(conn)) == (1, 0)
        refused(old, 7)
    assert folded_right(conn)


@pytest.mark.parametrize("count", COUNTS)
def test_what_came_and_went_in_a_pause(conn: Connection, plain_dsn: str, count: Act) -> None:
    """No row of the queue tells whose events changed: everybody is counted."""
    fill(conn)
    conn.execute("SELECT rescore.pause('customers')")
    conn.execute("DELETE FROM usage WHERE customer_id = 7")
    with older(plain_dsn) as old:
        use(conn, 7)
        conn.execute("SELECT rescore.resume('customers')")
        count(conn)
        assert (used(conn), waiting(conn)) == (1, 0)
        refused(old, 7)
    assert folded_right(conn)


@pytest.mark.parametrize("count", COUNTS)
def test_who_came_and_went_while_it_waited(conn: Connection, plain_dsn: str, count: Act) -> None:
    """Nobody has a row for them, and none of their events is left."""
    use(conn, *range(1000, 1199))
    use(conn, 8)
    assert waiting(conn) == 200
    with older(plain_dsn) as old:
        one(conn, "SELECT rows FROM rescore._fold_step('customers', 100)")  # there is room again
        conn.execute("DELETE FROM usage WHERE customer_id = 8")
        count(conn)
        assert waiting(conn) == 0
        refused(old, 8)
    assert folded_right(conn)


@pytest.mark.parametrize("count", COUNTS)
def test_who_left_while_they_waited(conn: Connection, plain_dsn: str, count: Act) -> None:
    """Deleted, with an event that stays until it is deleted, too."""
    use(conn, 8)
    conn.execute(FOLD)
    conn.execute("DELETE FROM customers WHERE customer_id = 8")
    fill(conn)
    with older(plain_dsn) as old:
        one(conn, "SELECT rows FROM rescore._fold_step('customers', 100)")
        conn.execute("DELETE FROM usage WHERE customer_id = 8")
        count(conn)
        assert waiting(conn) == 0
        refused(old, 8)
    assert folded_right(conn)


@pytest.mark.parametrize("count", COUNTS)
def test_who_came_and_went_in_a_pause(conn: Connection, plain_dsn: str, count: Act) -> None:
    fill(conn)
    conn.execute("SELECT rescore.pause('customers')")
    use(conn, 8)
    with older(plain_dsn) as old:
        conn.execute("DELETE FROM usage WHERE customer_id = 8")
        conn.execute("SELECT rescore.resume('customers')")
        count(conn)
        assert waiting(conn) == 0
        refused(old, 8)
    assert folded_right(conn)


def test_who_came_and_went_while_everybody_was_counted(conn: Connection, plain_dsn: str) -> None:
    """The walk has gone by already."""
    fill(conn)
    conn.execute("SELECT rescore.pause('customers')")
    use(conn, 8)
    conn.execute("SELECT rescore.resume('customers')")
    with older(plain_dsn) as old:
        conn.execute("DELETE FROM usage WHERE customer_id = 8")
        conn.execute(FOLD)
        refused(old, 8)
    assert folded_right(conn)


def untracked(conn: Connection, statement: str) -> None:
    """Write as a restore does: no trigger fires."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(statement.encode())


@pytest.mark.parametrize("level", LEVELS, ids=["repeatable", "serializable"])
def test_who_came_and_went_untracked(dsn: str, level: IsolationLevel) -> None:
    """A rebuild finds neither row nor events of them, and nothing waits for them."""
    with open_profile(dsn, SHOP, DEFINITION) as conn:
        fill(conn)
        untracked(conn, "INSERT INTO usage (customer_id, amount) VALUES (8, 5)")
        with older(dsn, level) as old:
            untracked(conn, "DELETE FROM usage WHERE customer_id = 8")
            rebuild(conn)
            refused(old, 8)
        assert folded_right(conn)


def test_what_is_taken_back_before_it_came(conn: Connection, plain_dsn: str) -> None:
    """Counted at once: of two events that are to come at one moment either alone leaves the row as it is."""
    define(conn, DEFINITION.replace("{time: at, mode: queued, queue: {limit: 200}}", "{time: at}"))
    coming = "INSERT INTO usage (customer_id, at) VALUES (7, now() + interval '1 day')"
    with conn.transaction():
        conn.execute(coming.encode())
        conn.execute(coming.encode())
    last = "DELETE FROM usage WHERE id = (SELECT {}(id) FROM usage WHERE at > now())"
    with older(plain_dsn) as old:
        conn.execute(last.format("max").encode())
        with pytest.raises(psycopg.errors.SerializationFailure):
            old.execute(last.format("min").encode())
    conn.execute(last.format("min").encode())
    assert right(conn)


def test_who_came_and_went_before_the_table_was_looked_at(conn: Connection, plain_dsn: str) -> None:
    """A definition that comes to count a table has counted all of it when it is applied."""
    conn.execute("CREATE TABLE visits (customer_id bigint)")
    conn.execute("CREATE INDEX ON visits (customer_id)")
    conn.execute("INSERT INTO visits VALUES (8)")
    fill(conn)
    also = DEFINITION.replace(
        "  orders: {}\n", "  orders: {}\n  visits: {mode: queued, queue: {limit: 200}}\n", 1
    )
    also = also.replace("\nmodels:", "\n  visits: {from: visits, count: true}\nmodels:")
    with older(plain_dsn) as old:
        conn.execute("DELETE FROM visits")
        define(conn, also)
        old.execute("INSERT INTO visits VALUES (8)")
        with pytest.raises(psycopg.errors.SerializationFailure):
            old.commit()
    conn.execute(FOLD)
    assert one(conn, "SELECT count(*) FROM rescore.verify('customers')") == 0
