"""What counts for a time only: windows, events of the future, and moments that are hard to tell."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from rescore.compiler.definition import parse
from rescore.errors import BadDefinition
from rescore.tests.support import one, open_profile

Connection = psycopg.Connection[Any]
NOON = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

SHOP = """
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,
    ordered_at timestamptz, amount numeric(10,2));
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  days: {from: orders, days_since: last}
  week: {from: orders, count: true, window: 7 days}
  before: {from: orders, count: true, window: 7 days, offset: 7 days}
  spent: {from: orders, sum: amount, window: 7 days, bucket: 1 day}
  most: {from: orders, max: amount, window: 7 days}
  minute: {from: orders, count: true, tumbling: 1 minute}
  closed: {from: orders, count: true, tumbling: 1 minute, closed: true}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        set_clock(made, NOON)
        yield made


def set_clock(conn: Connection, moment: datetime) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment.isoformat()])


def order(conn: Connection, at: Any, amount: float = 5, customer: int = 1) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount) VALUES (%s, %s, %s)",
        [customer, at, amount],
    )


def stored(conn: Connection, column: str, customer: int = 1) -> Any:
    return one(conn, f'SELECT "{column}" FROM customers WHERE customer_id = %s', customer)


def live(conn: Connection, column: str, customer: int = 1) -> Any:
    return one(conn, f'SELECT "{column}" FROM rescore_compiled.customers__live(%s)', customer)


def sweep(conn: Connection) -> None:
    conn.execute("CALL rescore.sweep('customers')")


def right(conn: Connection) -> bool:
    return conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_an_event_leaves_at_the_end_of_its_bucket(conn: Connection) -> None:
    order(conn, NOON - timedelta(minutes=30))
    for moment, expected in (
        (NOON + 7 * DAY - timedelta(microseconds=1), (1, 0)),
        (NOON + 7 * DAY, (0, 1)),
        (NOON + 14 * DAY - timedelta(microseconds=1), (0, 1)),
        (NOON + 14 * DAY, (0, 0)),
    ):
        set_clock(conn, moment)
        assert (live(conn, "week"), live(conn, "before")) == expected
        sweep(conn)
        assert (stored(conn, "week"), stored(conn, "before")) == expected
        assert right(conn)
    assert stored(conn, "orders__until") is None


def test_a_window_of_days_falls_out_at_midnight(conn: Connection) -> None:
    order(conn, NOON - 6 * DAY, 8)
    set_clock(conn, datetime(2024, 3, 2, 23, 59, 59, tzinfo=timezone.utc))
    assert live(conn, "spent") == 8
    set_clock(conn, datetime(2024, 3, 3, tzinfo=timezone.utc))
    assert live(conn, "spent") == 0


def test_the_minute_now_and_the_minute_that_ended(conn: Connection) -> None:
    order(conn, NOON)
    assert (stored(conn, "minute"), stored(conn, "closed")) == (1, 0)
    set_clock(conn, NOON + timedelta(seconds=60))
    order(conn, NOON + timedelta(seconds=60))
    assert (stored(conn, "minute"), stored(conn, "closed")) == (1, 1)
    set_clock(conn, NOON + timedelta(seconds=180))
    assert (live(conn, "minute"), live(conn, "closed")) == (0, 0)


def test_late_events_count_at_their_own_time(conn: Connection) -> None:
    order(conn, NOON - 8 * DAY)
    order(conn, NOON - 20 * DAY)
    assert (stored(conn, "orders"), stored(conn, "week"), stored(conn, "before")) == (2, 0, 1)
    assert right(conn)


def test_an_event_of_the_future_counts_when_its_time_has_come(conn: Connection) -> None:
    order(conn, NOON + 2 * HOUR, 9)
    order(conn, NOON, 4)
    assert (stored(conn, "orders"), stored(conn, "week"), stored(conn, "most")) == (1, 1, 4)
    assert stored(conn, "orders__next") == NOON + 2 * HOUR
    detail = one(conn, "SELECT detail FROM rescore.health WHERE \"check\" = 'coming'")
    assert "orders of customers: events of the future for 1 customers" in detail
    before = one(conn, "SELECT rescore.predict_key('churn', 1)")
    set_clock(conn, NOON + 3 * HOUR)
    assert (live(conn, "orders"), live(conn, "most"), live(conn, "days__at")) == (
        2,
        9,
        NOON + 2 * HOUR,
    )
    at_three = one(conn, "SELECT rescore.predict_key('churn', 1)")
    assert at_three != before
    sweep(conn)
    assert stored(conn, "churn_score") == pytest.approx(at_three, rel=1e-12)
    assert (stored(conn, "orders"), stored(conn, "orders__next")) == (2, None)
    assert right(conn)


@pytest.mark.parametrize("when", ["before its time", "after its time", "after it was counted"])
@pytest.mark.parametrize("how", ["delete", "move to the past", "move to the future", "truncate"])
def test_an_event_of_the_future_is_taken_back(conn: Connection, when: str, how: str) -> None:
    order(conn, NOON, 4)
    order(conn, NOON + HOUR, 9)
    if when != "before its time":
        set_clock(conn, NOON + 2 * HOUR)
    if when == "after it was counted":
        order(conn, NOON + 2 * HOUR, 1)
    change = {
        "delete": "DELETE FROM orders WHERE amount = 9",
        "move to the past": "UPDATE orders SET ordered_at = '2024-02-28 12:00+00' WHERE amount = 9",
        "move to the future": "UPDATE orders SET ordered_at = '2024-04-01 12:00+00' WHERE amount = 9",
        "truncate": "TRUNCATE orders",
    }[how]
    conn.execute(change.encode())
    assert right(conn)
    expected = one(conn, "SELECT count(*) FROM orders WHERE ordered_at <= rescore.clock()")
    assert stored(conn, "orders") == expected


@pytest.mark.parametrize("moment", [None, "infinity", "-infinity"])
def test_an_event_without_a_finite_time_never_counts(conn: Connection, moment: Any) -> None:
    order(conn, moment)
    assert (stored(conn, "orders"), stored(conn, "week"), stored(conn, "orders__next")) == (
        0,
        0,
        None,
    )
    conn.execute("UPDATE orders SET ordered_at = %s", [NOON])
    assert (stored(conn, "orders"), stored(conn, "week")) == (1, 1)
    conn.execute("UPDATE orders SET ordered_at = %s", [moment])
    assert (stored(conn, "orders"), stored(conn, "week")) == (0, 0)
    assert right(conn)


def test_a_day_that_is_an_hour_short(plain_dsn: str) -> None:
    """Days are 24 hours long: the clocks going forward moves no event."""
    local = SHOP.replace("timestamptz", "timestamp")
    zoned = DEFINITION.replace("clock: session", "clock: session, timezone: Europe/Berlin")
    with open_profile(plain_dsn, local, zoned) as conn:
        set_clock(conn, datetime(2024, 3, 31, 2, 30, tzinfo=timezone.utc))
        order(conn, "2024-03-31 01:59")  # 00:59 UTC
        order(conn, "2024-03-31 03:01")  # two minutes later: 01:01 UTC
        order(conn, "2024-03-31 02:30")  # a time that was skipped: read as 01:30 UTC
        assert stored(conn, "week") == 3
        set_clock(conn, datetime(2024, 4, 7, 0, 59, 59, tzinfo=timezone.utc))
        assert live(conn, "week") == 3
        set_clock(conn, datetime(2024, 4, 7, 1, 0, tzinfo=timezone.utc))
        assert live(conn, "week") == 2
        sweep(conn)
        assert right(conn)


@pytest.mark.parametrize(
    "query",
    [
        "WITH a AS (INSERT INTO orders (customer_id, ordered_at, amount) VALUES (1, $1, 1))"
        " INSERT INTO orders (customer_id, ordered_at, amount) VALUES (1, $1, 2)",
        "WITH a AS (DELETE FROM orders WHERE amount = 5)"
        " INSERT INTO orders (customer_id, ordered_at, amount) VALUES (1, $1, 2)",
        "MERGE INTO orders AS o USING (VALUES (5), (6)) AS v (a) ON o.amount = v.a"
        " WHEN MATCHED THEN UPDATE SET amount = 7"
        " WHEN NOT MATCHED THEN INSERT (customer_id, ordered_at, amount) VALUES (1, $1, v.a)",
    ],
)
@pytest.mark.parametrize("due", ["no", "a window", "an event to come"])
def test_recounts_and_additions_of_one_query_do_not_meet(
    conn: Connection, query: str, due: str
) -> None:
    order(conn, NOON - 3 * DAY)
    if due == "an event to come":
        order(conn, NOON + HOUR, 3)
    now = NOON if due == "no" else NOON + 5 * DAY
    set_clock(conn, now)
    conn.execute(query.replace("$1", f"'{now.isoformat()}'").encode())
    assert right(conn)
    assert stored(conn, "orders") == one(conn, "SELECT count(*) FROM orders")


def test_rows_of_one_statement_under_row_triggers(plain_dsn: str) -> None:
    with open_profile(
        plain_dsn,
        SHOP,
        DEFINITION.replace("{time: ordered_at}", "{time: ordered_at, trigger: row}"),
        serving=False,
    ) as conn:
        set_clock(conn, NOON)
        order(conn, NOON - 3 * DAY)
        order(conn, NOON + HOUR)
        set_clock(conn, NOON + 5 * DAY)
        conn.execute(
            "INSERT INTO orders (customer_id, ordered_at, amount)"
            " SELECT 1 + n % 2, rescore.clock() - n * interval '20 hours', n FROM generate_series(0, 19) AS n"
        )
        assert right(conn)
        assert one(conn, "SELECT sum(orders) FROM customers") == 22


def test_predict_key_is_what_a_sweep_would_store(conn: Connection) -> None:
    rng = random.Random(3)
    for _ in range(40):
        order(conn, NOON - rng.random() * 16 * DAY, rng.randrange(1, 90), rng.randrange(1, 6))
    conn.execute("INSERT INTO customers (customer_id) VALUES (9)")
    for days in sorted(rng.random() * 15 for _ in range(6)):
        set_clock(conn, NOON + days * DAY)
        asked = {k: one(conn, "SELECT rescore.predict_key('churn', %s)", k) for k in (1, 3, 5, 9)}
        moment = "SELECT rescore.predict_key('churn', %s, at => rescore.clock())"
        past = {k: one(conn, moment, k) for k in (1, 3, 5)}
        sweep(conn)
        for key, score in asked.items():
            assert stored(conn, "churn_score", key) == pytest.approx(score, rel=1e-12)
            assert past.get(key, score) == pytest.approx(score, rel=1e-12)
        assert right(conn)


def test_apply_asks_for_an_index_on_key_and_time(conn: Connection) -> None:
    made = one(conn, "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'orders%rescore_idx'")
    assert made.endswith("(customer_id, ordered_at)")


def test_a_window_reads_only_the_events_it_can_hold(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount)"
        " SELECT 1, %s - n * interval '1 day', 1 FROM generate_series(0, 5000) AS n",
        [NOON],
    )
    conn.execute("ANALYZE orders")
    # What the insert of several rows recounts: read from the function as it was generated.
    body = one(
        conn, "SELECT pg_get_functiondef('rescore_compiled.customers__orders_insert'::regproc)"
    )
    recount = body.split("LEFT JOIN (")[1].split(") AS r ON")[0]
    text = recount.replace("rescore_v_keys", "ARRAY[1]::bigint[]").replace(
        "rescore_v_moment", f"timestamptz '{NOON.isoformat()}'"
    )
    plan = conn.execute(f"EXPLAIN (ANALYZE, TIMING off, COSTS off) {text}".encode()).fetchall()
    shown = "\n".join(row[0] for row in plan)
    assert "rescore_idx" in shown
    assert "rows=15" in shown or "rows=16" in shown


def test_sessions_at_once_with_short_windows(plain_dsn: str) -> None:
    """The real clock moves on while rows are waited for: nothing is added twice or lost."""
    short = (
        DEFINITION.replace(", clock: session", "")
        .replace("7 days, offset: 7 days", "1 second, offset: 1 second")
        .replace("7 days, bucket: 1 day", "2 seconds")
        .replace("7 days", "1 second")
        .replace("1 minute", "1 second")
    )
    with open_profile(plain_dsn, SHOP, short) as conn:
        stop = threading.Event()

        def work(seed: int) -> None:
            rng = random.Random(seed)
            with psycopg.connect(plain_dsn, autocommit=True) as own:
                while not stop.is_set():
                    at = datetime.now(timezone.utc) + timedelta(seconds=rng.uniform(-2, 0.6))
                    match rng.randrange(6):
                        case 0:
                            own.execute(
                                "INSERT INTO orders (customer_id, ordered_at, amount)"
                                " SELECT n, %s, n FROM generate_series(1, 4) AS n",
                                [at],
                            )
                        case 1:
                            own.execute(
                                "DELETE FROM orders WHERE id = (SELECT max(id) - %s FROM orders)",
                                [rng.randrange(20)],
                            )
                        case _:
                            order(own, at, rng.randrange(1, 50), rng.randrange(1, 5))

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(work, n) for n in range(4)]
            threading.Event().wait(4)
            stop.set()
            for r in running:
                r.result(timeout=60)
        assert right(conn)
        threading.Event().wait(0.7)
        sweep(conn)
        assert right(conn)
        assert one(conn, "SELECT sum(orders) FROM customers") == one(
            conn, "SELECT count(*) FROM orders"
        )
        assert one(conn, "SELECT count(*) FROM rescore.incidents") == 0


@pytest.mark.parametrize(
    ("feature", "wrong"),
    [
        ("{from: orders, count: true, window: 2 months}", "no fixed length"),
        ("{from: orders, count: true, window: 0 days}", "no time at all"),
        ("{from: orders, count: true, offset: 2 days}", "`offset` needs `window`"),
        ("{from: orders, count: true, window: 2 days, bucket: 3 days}", "longer than `window`"),
        ("{from: orders, last: amount, window: 2 days}", "`last` has no `window`"),
        ("{from: orders, count: true, window: 2 days, tumbling: 1 hour}", "exclude each other"),
        ("{from: orders, count: true, closed: true}", "`closed` needs `tumbling`"),
    ],
)
def test_windows_that_make_no_sense(feature: str, wrong: str) -> None:
    with pytest.raises(BadDefinition, match=wrong):
        parse(DEFINITION.replace("{from: orders, count: true}", feature))


def test_a_window_needs_the_time_of_its_events() -> None:
    with pytest.raises(BadDefinition, match="`window` needs the time"):
        parse(
            DEFINITION.replace("{time: ordered_at}", "{}").replace(
                "  days: {from: orders, days_since: last}\n", ""
            )
        )
