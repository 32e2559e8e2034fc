"""Schedules of pg_cron, the real one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rescore.errors import ExtensionMissing, NotAllowed, UnknownProfile
from rescore.server.private import remove, start, stop
from rescore.sql.install import install
from rescore.tests.running import until
from rescore.tests.support import define, one, publish
from rescore.tests.test_run import DEFINITION, SHOP, Connection
from rescore.trainer import schedule as cron
from rescore.trainer.sweep import Terms
from rescore.trainer.usage import WrongUsage

Extend = Callable[[Connection, str], None]
ENDED = ("succeeded", "failed")


@pytest.fixture
def with_cron(plain_dsn: str, address: Any, extend: Extend) -> Iterator[tuple[Connection, str]]:
    """A connection to the database that has pg_cron, and a superuser's address of another."""
    dsn = make_conninfo(plain_dsn, user=address.user)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SHOP.encode())
        define(conn, DEFINITION)
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as home:
        extend(home, "pg_cron")
        yield home, dsn
        home.execute("SELECT cron.unschedule(jobid) FROM cron.job")


def test_a_schedule_is_replaced_listed_and_removed(with_cron: tuple[Connection, str]) -> None:
    _, dsn = with_cron
    for every in ("0 3 * * *", "*/5 * * * *"):
        names = cron.schedule(dsn, "customers", every, Terms())
    jobs = {job["command"]: (job["job"], job["schedule"]) for job in cron.scheduled(dsn)}
    assert jobs == {
        "CALL rescore.sweep('customers', \"tolerance\" => 0.0)": (names[0], "*/5 * * * *"),
        "CALL rescore.fold('customers')": (names[1], "* * * * *"),
        "CALL rescore.log_snapshots('customers')": (names[2], "*/5 * * * *"),
    }
    assert cron.unschedule(dsn, "customers")
    assert not cron.unschedule(dsn, "customers")
    assert cron.scheduled(dsn) == []


def test_what_pg_cron_cannot_do_is_refused(
    with_cron: tuple[Connection, str], plain_dsn: str
) -> None:
    home, dsn = with_cron
    with pytest.raises(WrongUsage, match="every 5 minutes"):
        cron.schedule(dsn, "customers", "every 5 minutes", Terms())
    with pytest.raises(WrongUsage, match="each second"):
        cron.schedule(dsn, "customers", "@hourly", Terms(), "each second")
    assert cron.scheduled(dsn) == []
    with pytest.raises(UnknownProfile):
        cron.schedule(dsn, "custmers", "@hourly", Terms())
    with pytest.raises(NotAllowed) as missing:
        cron.schedule(plain_dsn, "customers", "@hourly", Terms())
    assert "schedule_in_database" in missing.value.hint
    home.execute("DROP EXTENSION pg_cron")
    with pytest.raises(ExtensionMissing) as caught:
        cron.schedule(dsn, "customers", "@hourly", Terms())
    home.execute("CREATE EXTENSION pg_cron")
    assert "CREATE EXTENSION pg_cron" in caught.value.hint


LOGGED = (
    DEFINITION.replace("{time: ordered_at}", "{time: ordered_at, mode: queued}")
    .replace("models: {churn: {", "snapshot: {every: 1 day}\nmodels: {churn: {label: churned, ")
    .replace("features: {", "labels: {churned: {none: orders, within: 30 days}}\nfeatures: {")
)


def test_pg_cron_sweeps_folds_and_logs(extend: Extend) -> None:
    """On a server of its own: most jobs begin with a minute, these with the server."""
    top = Path(tempfile.mkdtemp(prefix="rescore-cron-"))
    top.chmod(0o755)
    try:
        dsn = start(top / "home", tuning="tests").dsn
        with psycopg.connect(dsn, autocommit=True) as conn:
            extend(conn, "pg_cron")
            install(dsn, python_path=None)
            conn.execute(SHOP.encode())
            define(conn, LOGGED)
            publish(conn)
            conn.execute("INSERT INTO customers VALUES (1000)")
            conn.execute("INSERT INTO orders SELECT i FROM generate_series(1, 300) AS i")
        terms = Terms("1 day", 500, tolerance=0.01)
        names = cron.schedule(dsn, "customers", "@reboot", terms, "@reboot")
        stop(top / "home")
        dsn = start(top / "home", tuning="tests").dsn
        jobs = until(lambda: _ended(dsn))
        assert {job["job"]: job["status"] for job in jobs} == dict.fromkeys(names, "succeeded")
        with psycopg.connect(dsn) as conn:
            swept = one(conn, "SELECT terms FROM rescore.sweeps WHERE finished_at IS NOT NULL")
            assert (swept["max_age"], swept["tolerance"]) == ("1 day", 0.01)
            assert one(conn, "SELECT count(*) FROM rescore.queue") == 0
            assert one(conn, "SELECT count(*) FROM rescore.verify('customers')") == 0
            # Those the fold had brought by then, but at least the one that was there.
            assert one(conn, "SELECT count(*) FROM rescore.snapshots") > 0
    finally:
        remove(top / "home")
        top.rmdir()


def _ended(dsn: str) -> list[dict[str, Any]]:
    jobs = cron.scheduled(dsn)
    return jobs if all(job["status"] in ENDED for job in jobs) else []


def test_log_snapshots_does_what_the_command_does(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute(SHOP.encode())
        define(conn, DEFINITION)
        conn.execute("CALL rescore.log_snapshots('customers')")  # nothing to log: not refused
        clocked = LOGGED.replace("type: bigint}}", "type: bigint}, clock: session}")
        define(conn, clocked.replace(", mode: queued", ""))
        publish(conn)
        conn.execute("SET rescore.clock = '2026-01-10Z'")
        conn.execute("INSERT INTO orders SELECT i, '2026-01-01Z' FROM generate_series(1, 30) AS i")
        for _ in range(2):  # the second time none is due
            conn.execute("CALL rescore.log_snapshots('customers', 7)")
            assert one(conn, "SELECT count(*) FROM rescore.snapshots") == 30
        conn.execute("INSERT INTO orders VALUES (3, '2026-01-20Z')")
        conn.execute("SET rescore.clock = '2026-02-20Z'")
        conn.execute("CALL rescore.log_snapshots('customers', 7)")
        counted = "SELECT sum(label), count(*), min(resolved_at) FROM rescore.snapshots WHERE taken_at < '2026-02-01Z'"
        assert conn.execute(counted.encode()).fetchall() == [
            (29, 30, datetime(2026, 2, 20, tzinfo=timezone.utc))
        ]
        conn.execute("DELETE FROM orders WHERE ordered_at = '2026-01-20Z'")
        conn.execute("SET rescore.clock = '2026-02-22Z'")
        conn.execute("CALL rescore.log_snapshots('customers', 7)")
        assert (
            one(conn, "SELECT sum(label) FROM rescore.snapshots WHERE taken_at < '2026-02-01Z'")
            == 30
        )
        for batch in ("0", "NULL"):
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(f"CALL rescore.log_snapshots('customers', {batch})".encode())
            assert caught.value.sqlstate == "RS020"
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("CALL rescore.log_snapshots('custmers')")
        assert caught.value.sqlstate == "RS008"
