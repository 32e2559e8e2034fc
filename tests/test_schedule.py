"""Schedules of pg_cron, the real one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rescore.errors import ExtensionMissing, NotAllowed, UnknownProfile
from rescore.server.private import remove, start, stop
from rescore.sql.install import install
from rescore.tests.support import define, one
from rescore.tests.test_run import DEFINITION, SHOP, Connection, until
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
        cron.schedule(dsn, "customers", every, Terms())
    (job,) = cron.scheduled(dsn)
    assert job["schedule"] == "*/5 * * * *"
    assert job["command"] == "CALL rescore.sweep('customers', \"tolerance\" => 0.0)"
    assert cron.unschedule(dsn, "customers")
    assert not cron.unschedule(dsn, "customers")
    assert cron.scheduled(dsn) == []


def test_what_pg_cron_cannot_do_is_refused(
    with_cron: tuple[Connection, str], plain_dsn: str
) -> None:
    home, dsn = with_cron
    with pytest.raises(WrongUsage, match="every 5 minutes"):
        cron.schedule(dsn, "customers", "every 5 minutes", Terms())
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


def test_pg_cron_sweeps(extend: Extend) -> None:
    """On a server of its own: most jobs begin with a minute, this one with the server."""
    top = Path(tempfile.mkdtemp(prefix="rescore-cron-"))
    top.chmod(0o755)
    try:
        dsn = start(top / "home", tuning="tests").dsn
        with psycopg.connect(dsn, autocommit=True) as conn:
            extend(conn, "pg_cron")
            install(dsn, python_path=None)
            conn.execute(SHOP.encode())
            define(conn, DEFINITION)
        name = cron.schedule(dsn, "customers", "@reboot", Terms("1 day", 500, tolerance=0.01))
        stop(top / "home")
        dsn = start(top / "home", tuning="tests").dsn
        (job,) = until(lambda: [j for j in cron.scheduled(dsn) if j["status"] in ENDED])
        assert (job["job"], job["status"]) == (name, "succeeded"), job
        with psycopg.connect(dsn) as conn:
            terms = one(conn, "SELECT terms FROM rescore.sweeps WHERE finished_at IS NOT NULL")
        assert (terms["max_age"], terms["tolerance"]) == ("1 day", 0.01)
    finally:
        remove(top / "home")
        top.rmdir()
