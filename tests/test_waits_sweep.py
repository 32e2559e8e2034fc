"""Who waits for whom in a sweep: those who begin, parts that end together, rows that others write."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sklearn.tree import DecisionTreeRegressor

from rescore.tests.support import one, pickled, publish
from rescore.tests.sweep_shop import CALL, Connection, at, connected, shop, wrong
from rescore.tests.waiting import open_transaction, stays_waiting, waits

BEGIN = "SELECT rescore._sweep_begin('customers', NULL, 1000, NULL, 0, false)"
STEP = "SELECT rescore._sweep_step('customers', NULL, 1000, NULL, 0, {})"
# Between two batches for longer than anybody stays away.
AWAY = "UPDATE rescore.sweeps SET held_until = now() - interval '1 hour'"
# A sweep gives way by a share of it: it is to wait here.
PATIENT = "-c deadlock_timeout=100s"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with connected(dsn) as made:
        shop(made)
        made.execute(CALL)
        yield made


def refused(dsn: str) -> bool:
    """Whether a sweep is told at once that another is at it."""
    with psycopg.connect(dsn, options="-c statement_timeout=2s") as second:
        with pytest.raises(psycopg.Error) as told:
            second.execute(BEGIN.encode())
        return told.value.sqlstate == "RS018"


@pytest.fixture
def two(conn: Connection, dsn: str) -> Iterator[tuple[Connection, Connection]]:
    """Sessions that sweep a part each, and have only the last batch before them; an incident is open."""
    conn.execute("SELECT rescore._incident('customers', NULL, NULL, '22012', 'zero', 'score')")
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second:
        pids = [first.info.backend_pid, second.info.backend_pid]
        begun = "SELECT parts FROM rescore._sweep_begin('customers', NULL, 1000, NULL, 0, true, %s)"
        assert one(conn, begun, pids) == 2
        yield first, second


def resolved(conn: Connection) -> bool:
    return bool(one(conn, "SELECT bool_and(resolved_at IS NOT NULL) FROM rescore.incident_log"))


def test_of_two_who_begin_one_is_told(conn: Connection, dsn: str) -> None:
    with (
        open_transaction(dsn, BEGIN) as other,
        pytest.raises(psycopg.Error) as told,
        waits(conn, dsn, BEGIN),
    ):
        other.commit()
    assert told.value.sqlstate == "RS018"


def test_a_long_batch_is_not_taken_over(conn: Connection, dsn: str) -> None:
    publish(conn, seed=8)
    lock = "LOCK TABLE customers IN SHARE MODE"
    with (
        psycopg.connect(dsn, autocommit=True, options=PATIENT) as first,
        open_transaction(dsn, lock) as other,
    ):
        first.execute(BEGIN.encode())
        conn.execute(AWAY)
        with stays_waiting(conn, first, STEP.format(1)):
            assert refused(dsn)
            other.commit()


def test_a_part_that_is_swept_is_not_divided_anew(
    conn: Connection, dsn: str, two: tuple[Connection, Connection]
) -> None:
    conn.execute(AWAY)
    two[1].execute("SELECT rescore._sweep_step('customers', NULL, 10, NULL, 0, 2)")  # not the last
    assert refused(dsn)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_parts_that_end_together_the_second_sees_the_first(
    conn: Connection, two: tuple[Connection, Connection], first: int
) -> None:
    """However long the first takes to commit: it closes the incidents then."""
    two[first].execute(STEP.format(first + 1).encode())
    second = two[1 - first]
    with stays_waiting(conn, second, STEP.format(2 - first)):
        two[first].execute("SELECT pg_sleep(0.1)")
        two[first].commit()
    second.commit()
    assert resolved(conn)


def test_what_python_scores_is_the_row_that_is_written(conn: Connection, dsn: str) -> None:
    tree = DecisionTreeRegressor().fit([[0, 0, 0], [0, 0, 40], [0, 0, 90]], [0.0, 0.5, 0.9])
    one(conn, "SELECT rescore.publish('churn', %s)", pickled(tree))
    conn.execute(CALL)
    at(conn, "2026-04-01")
    clock = "SET rescore.clock = '2026-04-01 00:00:00+00'; "
    event = "INSERT INTO orders (customer_id, ordered_at, amount) VALUES (7, '2026-03-31Z', 5)"
    with (
        open_transaction(dsn, clock + event) as other,
        psycopg.connect(dsn, options=PATIENT) as late,
    ):
        late.autocommit = True
        late.execute(clock.encode())
        with stays_waiting(conn, late, CALL):
            other.commit()
    assert wrong(conn) == 0
