"""A trainer killed anywhere and started again ends where one does that nobody killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.server.private import Server
from rescore.tests.learning_shop import LEARN, shop, stream
from rescore.trainer.loop.learn import learn

KILLS = int(os.environ.get("RESCORE_KILLS", "5"))
"""How many times; more than the ten of the suite are for a day with time."""

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["rescore.trainer.loop.learn", "sklearn.linear_model"])


def learning(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        learn(conn, "churn", wait=True)


def killed(dsn: str, seconds: float) -> bool:
    """Learn and kill -9 after some time; return whether it had not ended by itself."""
    process = FORK.Process(target=learning, args=(dsn,))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode != 0


def twin(server: Server, dsn: str) -> str:
    """Return a copy of a database, the same to the last byte."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS learning_twin")
        # Nobody may be connected to what is copied, not even the fixture that made it.
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        conn.execute(others, [name])
        create = sql.SQL("CREATE DATABASE learning_twin TEMPLATE {} OWNER rescore_plain")
        conn.execute(create.format(sql.Identifier(str(name))))
    return make_conninfo(dsn, dbname="learning_twin")


def ended(dsn: str) -> dict[str, Any]:
    """Return all that learning left behind; versions by rank, since lost numbers are not reused."""
    queries = {
        "versions": """SELECT rank() OVER (ORDER BY version), linear, metrics, contract
                       FROM rescore.models ORDER BY version""",
        "lineage": "SELECT examples, period, watermark_xid, memory, reference, customers FROM rescore.lineage ORDER BY version",
        "log": """SELECT examples, positives, skipped, period, from_xid, from_id, to_xid, to_id, metrics, action, reasons
                  FROM rescore.learn_log ORDER BY id""",
        "state": """SELECT watermark_xid, watermark_id, memory,
                           (SELECT count(*) FROM rescore.models AS m WHERE m.version <= line),
                           (SELECT count(*) FROM rescore.models AS m WHERE m.version <= champion) FROM rescore.learning""",
        "kept out": "SELECT id, quarantined FROM rescore.snapshots WHERE quarantined IS NOT NULL ORDER BY id",
    }
    with psycopg.connect(dsn) as conn:
        return {what: conn.execute(query.encode()).fetchall() for what, query in queries.items()}


def test_killed_at_random_moments(plain_dsn: str, server: Server) -> None:
    rounds = max(8, KILLS // 2)
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        shop(conn, LEARN.replace("examples: 1000", "examples: 500"))
        stream(conn, 500 * rounds)
        conn.execute("UPDATE rescore.snapshots SET design[1] = 1e6 WHERE id % 490 = 0")
    other = twin(server, plain_dsn)
    started = time.monotonic()
    learning(other)
    longest = 1.5 * (time.monotonic() - started) / rounds
    chance = random.Random(os.environ.get("RESCORE_SEED", "killed"))
    found = [killed(plain_dsn, chance.uniform(0, longest)) for _ in range(KILLS)]
    learning(plain_dsn)
    alone, disturbed = ended(other), ended(plain_dsn)
    assert sum(found) >= KILLS // 2
    assert len(alone["versions"]) == 1 + rounds
    for what in alone:
        assert disturbed[what] == alone[what], what
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute("DROP DATABASE learning_twin WITH (FORCE)")
