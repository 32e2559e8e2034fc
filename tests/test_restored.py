"""A dump restored by a server that numbers its transactions lower, or higher: nothing is lost or learnt twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.server.private import Server, remove, start
from rescore.tests import learning_shop as learning
from rescore.tests.outbox_shop import drain, read
from rescore.tests.support import define, one, publish
from rescore.torture.programs import run
from rescore.trainer import operations as ops
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.triggers import due
from rescore.trainer.pause import pause, resume

Connection = psycopg.Connection[Any]

QUEUED = """
profile: {table: buyers, key: {name: buyer, type: bigint}}
events: {buys: {mode: queued}}
features: {buys: {from: buys, count: true}}
models: {worth: {features: all}}
scores: {worth_score: {model: worth, outbox: {moved_by: 0}}}
"""
PAUSED = QUEUED.replace("buyers", "holders").replace("worth", "value")
BUYS = "CREATE TABLE buys (buyer bigint); CREATE INDEX ON buys (buyer);"
BURN = "DO $$ BEGIN FOR i IN 1 .. {} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


def burn(conn: Connection, transactions: int) -> None:
    conn.execute(BURN.format(transactions).encode())


def settle(conn: Connection, count: int, seed: int, day: float) -> None:
    """Log that many snapshots and let rescore resolve them."""
    before = one(conn, "SELECT coalesce(max(id), 0) FROM rescore.snapshots")
    learning.stream(conn, count, seed=seed, day=day)
    conn.execute(
        """INSERT INTO orders SELECT s.key::bigint, s.taken_at + interval '1 day' FROM rescore.snapshots AS s
           WHERE s.id > %s AND s.label = 0""",
        [before],
    )
    conn.execute(
        "UPDATE rescore.snapshots SET resolved = NULL, resolved_at = NULL, label = NULL WHERE id > %s",
        [before],
    )
    conn.execute("SET rescore.clock = '2026-12-31Z'")
    assert one(conn, "SELECT rescore.resolve('customers')") == count


def learnt(conn: Connection) -> list[Any]:
    """What was ever learnt, in order; the versions' weights."""
    log = "SELECT version, examples, positives, to_id, action FROM rescore.learn_log ORDER BY id"
    models = "SELECT version, linear::text FROM rescore.models WHERE model = 'churn' ORDER BY 1"
    return [*conn.execute(log.encode()), *conn.execute(models.encode())]


def go_on(conn: Connection) -> list[Any]:
    """What must be the same wherever it is done."""
    settle(conn, 1200, seed=3, day=9)
    assert due(conn, "churn") is not None
    learn(conn, "churn")
    assert [each.action for each in learn(conn, "churn").rounds] == ["nothing"]
    return learnt(conn)


@contextmanager
def another_server() -> Iterator[Server]:
    top = Path(tempfile.mkdtemp(prefix="rescore-restored-"))
    top.chmod(0o755)
    try:
        yield start(top / "home", tuning="tests")
    finally:
        remove(top / "home")
        top.rmdir()


def restore(server: Server, dump: Path, name: str) -> str:
    address = ("-h", str(server.socket_dir), "-p", str(server.port), "-U", "rescore")
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    run("pg_restore", *address, "--exit-on-error", "-d", name, dump, cwd=server.socket_dir)
    return make_conninfo(server.dsn, dbname=name)


def roles(server: Server) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        for role in ("rescore_plain", "rescore_reader", "rescore_trainer", "rescore_admin"):
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))


def live(conn: Connection) -> None:
    """Learn from some, leave others; a consumer in the middle; a queue and a pause."""
    learning.shop(conn, learning.LEARN.replace("batch", "when: {labels: 2000}, batch"))
    settle(conn, 1500, seed=1, day=0)
    learn(conn, "churn")
    settle(conn, 1000, seed=2, day=4)
    conn.execute(BUYS.encode())
    for definition, model in ((QUEUED, "worth"), (PAUSED, "value")):
        define(conn, definition)
        publish(conn, model)
    conn.execute("SELECT rescore.outbox_register('crm', 'beginning')")
    conn.execute("INSERT INTO buys SELECT generate_series(1, 9)")
    ops.fold(conn, "buyers", 100)
    assert [row[0] for row in read(conn, batch=4)] == [1, 2, 3, 4]
    pause(conn, "holders")
    conn.execute("INSERT INTO buys SELECT generate_series(5, 12)")


@pytest.fixture
def source(plain_dsn: str, server: Server) -> Iterator[Connection]:
    with psycopg.connect(server.dsn, autocommit=True) as root:
        burn(root, 20_000)
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        live(conn)
        yield conn


def dumped(conn: Connection, server: Server) -> Path:
    name = conn.info.dbname
    address = ("-h", str(server.socket_dir), "-p", str(server.port), "-U", "rescore")
    run("pg_dump", *address, "-Fc", "-f", "restored.dump", name, cwd=server.socket_dir)
    return server.socket_dir / "restored.dump"


def next_number(conn: Connection) -> int:
    return int(one(conn, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))


def test_a_server_that_numbers_lower_or_higher_goes_on(source: Connection, server: Server) -> None:
    dump = dumped(source, server)
    watermark = one(source, "SELECT watermark_xid::text::bigint FROM rescore.learning")
    expected = go_on(source)
    with another_server() as other:
        roles(other)
        for name in ("lower", "higher"):
            with psycopg.connect(restore(other, dump, name), autocommit=True) as conn:
                conn.execute("SET ROLE rescore_plain")
                assert (next_number(conn) < watermark) == (name == "lower")
                assert go_on(conn) == expected
                places_are_refused(conn)
                what_waits_is_counted(conn)
            with psycopg.connect(other.dsn, autocommit=True) as root:
                burn(root, watermark + 20_000)
        with psycopg.connect(make_conninfo(other.dsn, dbname="lower"), autocommit=True) as conn:
            conn.execute("SET ROLE rescore_plain")
            once_more(conn, source)
    dump.unlink()


def once_more(conn: Connection, source: Connection) -> None:
    """The numbers it had when it was restored are this server's own by now: no matter."""
    for each in (conn, source):
        settle(each, 1100, seed=4, day=14)
        learn(each, "churn")
    assert learnt(conn) == learnt(source)
    assert one(conn, "SELECT earlier > 20000 FROM rescore.cluster")
    assert one(source, "SELECT earlier = 0 FROM rescore.cluster")


def places_are_refused(conn: Connection) -> None:
    for source in ("source", "'rescore.outbox'::regclass"):  # by chance it may have the same number
        conn.execute(f"UPDATE rescore.outbox_consumers SET source = {source}".encode())
        conn.execute("INSERT INTO buys VALUES (1)")
        ops.fold(conn, "buyers", 100)
        with pytest.raises(psycopg.Error, match="is of another database") as caught:
            read(conn)
        assert caught.value.sqlstate == "RS023"
    assert one(conn, "SELECT status FROM rescore.health WHERE \"check\" = 'outbox'") == "error"
    assert one(conn, "SELECT rescore.outbox_prune('0')") == 0
    conn.execute("SELECT rescore.outbox_drop('crm'), rescore.outbox_register('crm', 'beginning')")
    written = one(conn, "SELECT array_agg(id ORDER BY id) FROM rescore.outbox")
    assert [row[0] for row in drain(conn)] == written
    assert len(written) > 15
    conn.execute("INSERT INTO buys VALUES (1)")
    ops.fold(conn, "buyers", 100)
    assert len(drain(conn)) == 1


def test_pg_upgrade_keeps_places_and_numbers(plain_db: Connection) -> None:
    """It makes a server with another identifier, of the same files."""
    conn = plain_db
    conn.autocommit = True
    conn.execute("SELECT rescore.outbox_register('crm')")
    conn.execute("UPDATE rescore.cluster SET system = 42, xid = pg_current_xact_id()")
    with pytest.raises(psycopg.Error, match="is of another database"):
        read(conn)
    conn.execute("SELECT rescore.outbox_drop('crm'), rescore.outbox_register('crm')")
    assert one(conn, "SELECT system FROM rescore.outbox_consumers") == 42
    assert read(conn) == []
    conn.execute("VACUUM (FREEZE, FULL) rescore.cluster")
    assert read(conn) == []
    conn.execute("UPDATE rescore.cluster SET moved_at = now()")  # as COPY writes it: not by itself
    with pytest.raises(psycopg.Error, match="is of another database"):
        read(conn)


@pytest.mark.parametrize(
    "kept",
    [
        """INSERT INTO rescore.judgements (model, version, period, snapshots, open, examples, customers, metric, verdict, resolved)
           VALUES ('worth', 1, 'empty', 0, 0, 0, 0, 'auc', 'even', '90000000000')""",
        "INSERT INTO rescore.relabelled VALUES ('worth', 1, '90000000000')",
    ],
    ids=["judged", "relabelled"],
)
def test_what_was_judged_there_is_judged_again_here(plain_db: Connection, kept: str) -> None:
    conn = plain_db
    conn.autocommit = True
    conn.execute(BUYS.encode())
    define(conn, QUEUED)
    publish(conn, "worth")
    conn.execute(kept.encode())
    assert one(conn, "SELECT rescore._transaction() > '90000000000'")
    assert one(conn, "SELECT rescore._ended() > '90000000000'")


def what_waits_is_counted(conn: Connection) -> None:
    assert one(conn, "SELECT count(*) FROM rescore.verify('buyers')") == 0
    assert one(conn, "SELECT count(*) FROM rescore.verify('holders')") > 0
    resume(conn, "holders")
    ops.fold(conn, "holders", 100)
    assert one(conn, "SELECT count(*) FROM rescore.verify('holders')") == 0
    problems = "SELECT \"check\", detail FROM rescore.health WHERE status = 'error'"
    assert conn.execute(problems.encode()).fetchall() == []


@pytest.mark.parametrize("kept", [True, False])
def test_pg_upgrade_keeps_places_that_a_savepoint_moved(plain_db: Connection, kept: bool) -> None:
    """The row is then written by the savepoint's transaction, which has a number of its own."""
    conn = plain_db
    conn.autocommit = True
    conn.execute("UPDATE rescore.cluster SET system = 42, xid = pg_current_xact_id()")
    conn.execute("SELECT rescore.outbox_register('crm')")
    with conn.transaction(), conn.transaction(force_rollback=not kept):
        one(conn, "SELECT rescore._count_on(20000)")
    assert one(conn, "SELECT earlier, system FROM rescore.cluster") == (20000 if kept else 0, 42)
    assert read(conn) == []
