"""Sweeps by several sessions: parts of the keys, and how they end together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from rescore.errors import Busy, WrongArgument
from rescore.tests.support import define, one, publish
from rescore.tests.sweep_shop import (
    CALL,
    DEFINITION,
    Connection,
    connected,
    shop,
    wrong_version,
)
from rescore.trainer import operations as ops
from rescore.trainer.sweep import Terms, sweep

ALL = Terms("100 years", batch=10)
KEYS = {
    "bigint": "i * i * i",
    "text": "CASE WHEN i % 2 = 0 THEN 'A' ELSE 'b''' END || i",
    "uuid": "md5(i::text)::uuid",
}
STAMPS = "SELECT count(*), count(DISTINCT customer_id) FROM written"
COMMAND = [sys.executable, "-c", "from rescore.cli import main; main()"]
PARTS = "SELECT part, position, until, looked, finished_at FROM rescore.sweeps ORDER BY part"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def customers(conn: Connection, kind: str, count: int) -> None:
    """Customers of an older version, each of whose updates is written down."""
    conn.execute(f"ALTER TABLE orders ALTER customer_id TYPE {kind} USING NULL".encode())
    define(conn, DEFINITION.replace("type: bigint", f"type: {kind}"))
    publish(conn)
    conn.execute(
        f"INSERT INTO orders (customer_id, ordered_at, amount) SELECT {KEYS[kind]}, '2025-12-01', 1 FROM generate_series(1, {count}) AS i".encode()
    )
    conn.execute(f"CREATE TABLE written (customer_id {kind})".encode())
    conn.execute(
        """CREATE FUNCTION written() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN INSERT INTO public.written VALUES (new.customer_id); RETURN NULL; END $$"""
    )
    conn.execute(
        """CREATE TRIGGER written AFTER UPDATE ON customers
           FOR EACH ROW EXECUTE FUNCTION written()"""
    )
    publish(conn, seed=8)


@pytest.mark.parametrize("kind", KEYS)
def test_each_key_is_in_one_part(conn: Connection, kind: str) -> None:
    customers(conn, kind, 500)
    for seed, jobs in ((8, 2), (9, 5)):
        publish(conn, seed=seed)
        conn.execute("TRUNCATE written")
        done = sweep(conn, "customers", ALL, jobs=jobs)
        assert (done.looked, done.changed, done.finished) == (500, 500, True)
        assert conn.execute(STAMPS).fetchone() == (500, 500)
        looked = [row[3] for row in conn.execute(PARTS)]
        assert (len(looked), min(looked) > 500 / jobs - 2) == (jobs, True)
    assert wrong_version(conn) == 0


@pytest.mark.parametrize(("count", "parts"), [(0, 1), (1, 4), (2, 4), (5, 4)])
def test_tables_smaller_than_the_parts(conn: Connection, count: int, parts: int) -> None:
    customers(conn, "bigint", count)
    done = sweep(conn, "customers", ALL, jobs=4)
    assert (done.looked, done.changed, done.finished) == (count, count, True)
    assert (len(conn.execute(PARTS).fetchall()), wrong_version(conn)) == (parts, 0)


def test_the_parts_of_a_large_table_are_estimated(conn: Connection) -> None:
    shop(conn, customers=60_000)
    conn.execute("ANALYZE customers")
    done = sweep(conn, "customers", Terms("100 years"), jobs=3)
    looked = [row[3] for row in conn.execute(PARTS)]
    assert (done.looked, sum(looked), min(looked) > 15_000) == (60_000, 60_000, True)
    # Far fewer rows than were counted: the sample may hold none.
    conn.execute("DELETE FROM customers WHERE customer_id <> 59990")
    assert sweep(conn, "customers", Terms("100 years"), jobs=3).looked == 1


def cut_short(conn: Connection, jobs: int) -> int:
    stop = threading.Event()
    slowly = replace(ALL, rate=500)
    done = sweep(conn, "customers", slowly, jobs=jobs, stop=stop, progress=lambda *_: stop.set())
    assert not done.finished
    return done.looked


def test_what_was_cut_short_goes_on_in_the_same_parts(conn: Connection) -> None:
    customers(conn, "bigint", 300)
    before = cut_short(conn, 2)
    bounds = "SELECT array_agg(until ORDER BY part) FROM rescore.sweeps"
    until = one(conn, bounds)
    # In the middle of a part, and behind the last.
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           VALUES (8000001, '2025-12-01', 1), (99999999, '2025-12-01', 1)"""
    )
    done = sweep(conn, "customers", ALL, jobs=2)
    assert (one(conn, bounds), done.looked, done.finished) == (until, 302, True)
    assert (0 < before < 100, done.changed, wrong_version(conn)) == (True, 300, 0)
    # Each once: the new ones by their events.
    assert conn.execute(STAMPS).fetchone() == (302, 302)


@pytest.mark.parametrize(("first", "then", "parts"), [(2, 1, 1), (2, 3, 3), (1, 2, 2)])
def test_other_parts_begin_anew(conn: Connection, first: int, then: int, parts: int) -> None:
    shop(conn)
    publish(conn, seed=8)
    cut_short(conn, first)
    done = sweep(conn, "customers", ALL, jobs=then)
    assert (done.looked, len(conn.execute(PARTS).fetchall())) == (300, parts)
    assert wrong_version(conn) == 0


def test_a_killed_session_ends_the_others_and_the_next_sweep_goes_on(
    conn: Connection, plain_dsn: str
) -> None:
    customers(conn, "bigint", 300)
    pids = "SELECT array_agg(pid ORDER BY part) FROM rescore.sweeps"
    for victim in (0, 1):

        def kill(*_: Any, victim: int = victim) -> None:
            with psycopg.connect(plain_dsn) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [one(other, pids)[victim]])

        with (
            psycopg.connect(plain_dsn, autocommit=True) as mine,
            pytest.raises(psycopg.OperationalError),
        ):
            sweep(mine, "customers", replace(ALL, rate=400), jobs=2, progress=kill)
        assert 0 < one(conn, "SELECT sum(looked) FROM rescore.sweeps") < 200
    done = sweep(conn, "customers", ALL, jobs=2, wait=True)
    assert (done.looked, done.finished, wrong_version(conn)) == (300, True, 0)
    assert conn.execute(STAMPS).fetchone() == (300, 300)


def test_others_are_told_who_sweeps_a_part(conn: Connection, plain_dsn: str) -> None:
    shop(conn)
    publish(conn, seed=8)
    begun = threading.Event()

    def slowly() -> None:
        with psycopg.connect(plain_dsn, autocommit=True) as mine:
            sweep(
                mine, "customers", replace(ALL, rate=250), jobs=2, progress=lambda *_: begun.set()
            )

    slow = threading.Thread(target=slowly)
    slow.start()
    begun.wait(5)
    for jobs in (1, 2, 3):
        with pytest.raises(Busy, match="is being swept"):
            ops.sweep(conn, "customers", jobs=jobs)
    with pytest.raises(psycopg.Error, match="is being swept"):
        conn.execute(CALL)
    assert slow.is_alive()
    waited = ops.sweep(conn, "customers", "100 years", jobs=2, wait=True)
    slow.join()
    assert (waited.looked, waited.changed, wrong_version(conn)) == (300, 0, 0)


def test_the_rate_is_that_of_all_parts(conn: Connection) -> None:
    shop(conn)
    publish(conn, seed=8)
    assert ops.sweep(conn, "customers", "100 years", rate=300, jobs=2).seconds > 0.7
    assert wrong_version(conn) == 0


def test_rows_held_by_others_are_counted_over_all_parts(conn: Connection, plain_dsn: str) -> None:
    shop(conn)
    publish(conn, seed=8)
    with psycopg.connect(plain_dsn) as other:
        other.execute("SELECT FROM customers WHERE customer_id IN (20, 290) FOR UPDATE")
        done = ops.sweep(conn, "customers", "100 years", jobs=2)
    assert (done.looked, done.changed, done.locked) == (300, 298, 2)


def test_a_forgotten_bound_is_not_kept(conn: Connection) -> None:
    shop(conn)
    publish(conn, seed=8)
    cut_short(conn, 2)
    bound = one(conn, "SELECT until FROM rescore.sweeps WHERE part = 1")
    conn.execute("SELECT rescore.forget('customers', %s)", [bound])
    kept = "SELECT count(*) FROM rescore.sweeps WHERE %s IN (position, until)"
    assert one(conn, kept, bound) == 0
    assert sweep(conn, "customers", ALL, jobs=2).looked == 299
    assert wrong_version(conn) == 0


def test_a_profile_without_scores_has_one_part(conn: Connection) -> None:
    define(conn, DEFINITION[: DEFINITION.index("models:")])
    assert sweep(conn, "customers", ALL, jobs=3).finished
    with pytest.raises(WrongArgument):
        ops.sweep(conn, "customers", jobs=2, rate=-1)


def test_the_commands_take_jobs_and_stop(conn: Connection, plain_dsn: str) -> None:
    shop(conn)
    publish(conn, seed=8)
    command = [*COMMAND, "run", "--dsn", plain_dsn, "--json", "--sweep-jobs", "2"]
    options = ["--max-age", "100 years", "--batch", "10", "--rate", "100"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    pause = threading.Event()
    while (one(conn, "SELECT sum(looked) FROM rescore.sweeps") or 0) < 20:
        pause.wait(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=5)
    (facts,) = map(json.loads, out.splitlines())
    assert (process.returncode, facts["profiles"][0]["finished"]) == (0, False)
    assert facts["rows"] == one(conn, "SELECT sum(looked) FROM rescore.sweeps")
    words = [
        "sweep",
        "customers",
        "--dsn",
        plain_dsn,
        "--max-age",
        "100 years",
        "--jobs",
        "2",
        "--json",
    ]
    told = json.loads(subprocess.check_output([*COMMAND, *words]))
    assert (told["rows"], told["locked"], wrong_version(conn)) == (300, 0, 0)
