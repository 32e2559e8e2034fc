"""Beginning again: for who lets go alone, not for errors of the application, nor for who is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescore.tests.queue_shop import DEFINITION, FOLD, SHOP, Connection, right, use
from rescore.tests.support import one, open_profile
from rescore.tests.test_waits import BILLED, LINKED, counted

REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.customer_id = 3 THEN RAISE EXCEPTION 'not this one' USING ERRCODE = 'RS0LG'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION refuse();
"""
ALLOWS = "DROP TRIGGER refuse ON customers"
TOLD = "SELECT string_agg(sqlstate || ' ' || message, '; ') FROM rescore.incident_log"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        made.execute(REFUSES.encode())
        yield made


@pytest.fixture
def linked(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, LINKED, BILLED, serving=False) as made:
        yield made


def test_links_that_the_application_refuses_by_its_code_are_counted_later(
    linked: Connection,
) -> None:
    linked.execute(REFUSES.encode())
    linked.execute("INSERT INTO bills VALUES (31, 5), (31, 6)")
    linked.execute("INSERT INTO accounts VALUES (31, 3)")
    assert one(linked, TOLD) == "RS0LG not this one"
    linked.execute(ALLOWS.encode())
    linked.execute(FOLD.encode())
    assert one(linked, "SELECT bills FROM customers WHERE customer_id = 3") == 2
    assert counted(linked)


def test_events_that_it_refuses_by_its_code_are_counted_later(conn: Connection) -> None:
    conn.execute("INSERT INTO orders VALUES (3, 5), (3, 6)")
    assert one(conn, TOLD) == "RS0LG not this one; RS0LG not this one"
    conn.execute(ALLOWS.encode())
    conn.execute(FOLD.encode())
    conn.execute("DELETE FROM rescore.incident_log")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 3") == 2
    assert right(conn)


def test_a_fold_says_what_it_refused(conn: Connection) -> None:
    use(conn, 3, 4)
    with pytest.raises(Exception, match="not this one"):
        conn.execute(FOLD.encode())


def test_links_to_who_is_forgotten_do_not_begin_again(linked: Connection) -> None:
    linked.execute("INSERT INTO bills SELECT n, 5 FROM generate_series(1, 4) AS n")
    linked.execute("INSERT INTO accounts SELECT n, n FROM generate_series(1, 4) AS n")
    linked.execute("SELECT rescore.forget('customers', '3')")
    linked.execute("INSERT INTO bills VALUES (4, 6)")
    begun = one(linked, "SELECT pg_current_xact_id()::text::bigint")
    linked.execute("UPDATE accounts SET customer_id = 3 WHERE account = 4")
    ended = one(linked, "SELECT pg_current_xact_id()::text::bigint")
    # The statement's own, that of the block in which it counts, and that of the score.
    assert ended - begun - 1 == 3
    assert counted(linked)
