"""``rescore demo``: eighteen months of a CD shop, replayed on a private PostgreSQL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.compiler.apply import apply
from rescore.compiler.definition import load
from rescore.examples.cdnow.data import Purchase, purchases
from rescore.examples.cdnow.replay import Replay, learn, moment, replay, set_clock, statement
from rescore.server import private
from rescore.server.account import default_home
from rescore.server.libraries import python_path
from rescore.sql.install import install
from rescore.trainer.database import Connection, connection
from rescore.trainer.metrics import evaluate

DATABASE = "rescore_demo"
HISTORY_ENDS = date(1997, 9, 30)
JUDGED = date(1998, 3, 31)
QUICK = 10  # --quick takes every tenth customer

Say = Callable[[str], None]
Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def run(home: Path | None, *, quick: bool, say: Say, bar: Bar) -> dict[str, Any]:
    """Run the demo; the server keeps running.

    Parameters
    ----------
    home: of the private server and of the downloaded data.
    quick: a tenth of the customers.
    say: prints a line.
    bar: opens a progress bar.

    Returns
    -------
    dict: ``events``, ``events_per_second``, ``auc``, ``log_loss``, ``verify_differences``,
    ``versions``, ``dsn`` and more.
    """
    started = time.monotonic()
    place = default_home() if home is None else home
    bought = read_purchases(place, quick, say)
    server = private.start(home, "demo")
    say(f"private PostgreSQL {server.version}; its log is {server.log}")
    dsn = fresh_database(server.dsn, DATABASE)
    install(dsn, python_path=python_path(home=home))
    with connection(dsn) as conn:
        result = tell(conn, bought, say, bar)
        _keep_clock(conn)
    return result | {"dsn": dsn, "seconds": round(time.monotonic() - started, 1)}


def fresh_database(server_dsn: str, name: str) -> str:
    """Create an empty database, in place of the one of that name; return its DSN."""
    with connection(server_dsn) as conn:
        for command in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {}"):
            conn.execute(sql.SQL(command).format(sql.Identifier(name)))
    return make_conninfo(server_dsn, dbname=name)


def tell(conn: Connection, bought: list[Purchase], say: Say, bar: Bar) -> dict[str, Any]:
    """Play the whole story in an installed, otherwise empty database."""
    history = [p for p in bought if p.day <= HISTORY_ENDS]
    rest = [p for p in bought if p.day > HISTORY_ENDS]
    load_history(conn, history, HISTORY_ENDS, say)
    _define(conn, say, bar)
    _say_trained(learn(conn, HISTORY_ENDS), HISTORY_ENDS, say)
    done = _replay(conn, rest, say, bar)
    say(f"\ncustomer {done.customer}, as the score in the row moved:")
    for step in done.story:
        say(_line(step))
    return _result(conn, done, say)


def read_purchases(place: Path, quick: bool, say: Say) -> list[Purchase]:
    """Return all purchases, or those of a tenth of the customers, by day."""
    found = purchases(place / "cdnow")
    if quick:
        found = [p for p in found if p.customer_id % QUICK == 0]
    customers = len({p.customer_id for p in found})
    say(f"{len(found):,} purchases of {customers:,} customers, {found[0].day} to {found[-1].day}")
    return found


def load_history(conn: Connection, history: list[Purchase], ends: date, say: Say) -> None:
    """Make the shop's table, and fill it with what was bought before the replay begins."""
    conn.execute(statement("orders"))
    with conn.cursor() as cursor, cursor.copy(statement("copy")) as copy:
        for p in history:
            copy.write_row((p.customer_id, moment(p.day), p.quantity, p.amount))
    conn.execute("ANALYZE public.orders")
    say(f"{len(history):,} purchases until {ends} loaded with COPY")


def _define(conn: Connection, say: Say, bar: Bar) -> None:
    """Apply the definition: profile table, triggers, and a backfill from the history."""
    set_clock(conn, HISTORY_ENDS)
    definition = load(Path(str(files("rescore.examples.cdnow") / "definition.yaml")))
    with bar("apply") as progress:
        made = apply(conn, definition, progress=progress)
    conn.execute("ANALYZE public.customer_profile")
    say(f"definition applied: {len(made.changes)} changes")


def _replay(conn: Connection, rest: list[Purchase], say: Say, bar: Bar) -> Replay:
    def month_end(day: date) -> None:
        _say_trained(learn(conn, day), day, say)
        if day == JUDGED:
            conn.execute(statement("keep"))

    with bar("purchases, one INSERT and one transaction each") as progress:
        done = replay(conn, rest, _followed(rest), month_end, progress)
    rate = done.events / done.seconds
    say(
        f"{done.events:,} purchases inserted one by one, {rate:,.0f} a second, scores included; "
        "each a transaction of its own, which the demo's tuning does not let wait for the disk"
    )
    return done


def _followed(rest: list[Purchase]) -> int:
    """Return the customer to follow: one who buys often, but not too often to be told."""
    counts = Counter(p.customer_id for p in rest)
    return max(counts, key=lambda c: (counts[c] if counts[c] <= 10 else 0, -c))


def _say_trained(report: Any, day: date, say: Say) -> None:
    measured = report.metrics or {}
    numbers = ", ".join(f"{n} {measured[n]:.4f}" for n in ("auc", "log_loss") if n in measured)
    moments = f"{len(report.moments)} moments, {report.examples:,} examples"
    say(f"{day}  version {report.version}: {moments}; at {_day(report.test_moment)}: {numbers}")


def _day(value: Any) -> str:
    return value.date().isoformat() if value else "no test moment"


def _line(step: dict[str, Any]) -> str:
    was = "      " if step["was"] is None else f"{step['was']:.4f}"
    orders = f"{step['orders']:>3} orders"
    return f"  {step['day']}  {was} → {step['churn_score']:.4f}  {orders}  {step['what']}"


def _result(conn: Connection, done: Replay, say: Say) -> dict[str, Any]:
    quality = _quality(conn)
    row = conn.execute(statement("counts")).fetchone() or (0, 0, 0, 0)
    names = ("events", "customers", "versions", "verify_differences")
    say(
        f"\nscores in the table at {JUDGED} against the next 90 days: "
        f"AUC {quality['auc']:.4f}, log loss {quality['log_loss']:.4f} "
        f"(a constant: {quality['constant_log_loss']:.4f}), {quality['base_rate']:.1%} churned"
    )
    return {
        **dict(zip(names, row, strict=True)),
        "inserted_singly": done.events,
        "events_per_second": round(done.events / done.seconds, 1),
        **quality,
        "judged_at": JUDGED.isoformat(),
        "followed": {"customer": done.customer, "story": done.story},
    }


def _quality(conn: Connection) -> dict[str, float]:
    rows = np.array(conn.execute(statement("quality")).fetchall(), dtype=float)
    churned = rows[:, 1].astype(np.int8)
    found = evaluate(churned, rows[:, 0], constant=float(churned.mean()))
    names = ("auc", "log_loss", "brier", "base_rate")
    return {n: found[n] for n in names} | {"constant_log_loss": found["constant"]["log_loss"]}


def _keep_clock(conn: Connection) -> None:
    """Let later sessions look at the shop as of its last day, not as of today."""
    command = sql.SQL("ALTER DATABASE {} SET rescore.clock = {}")
    last = conn.execute("SELECT pg_catalog.max(ordered_at)::text FROM public.orders").fetchone()
    name = sql.Identifier(conn.info.dbname)
    conn.execute(command.format(name, sql.Literal(last[0] if last else "")))


def look_around(result: dict[str, Any], stop: str = "rescore server stop") -> list[str]:
    """Return the closing lines: what is there, and how to look at it."""
    return [
        f"{result['events']:,} events, {result['versions']} versions, "
        f"{result['verify_differences']} differences found by rescore.verify, "
        f"{result['seconds']} s in all",
        "the server keeps running; look around with",
        f"  psql '{result['dsn']}'",
        "  SELECT * FROM customer_profile ORDER BY churn_score LIMIT 10;",
        f"and stop it with `{stop}`",
    ]
