"""``rescore demo --loop``: nine months of the CD shop, learnt by ``rescore run`` as they pass.

The shop inserts its purchases and says which day it is. All else is the runner's doing: it logs,
resolves, learns once a week, tests, and publishes. Beside what it serves, two others score the same
snapshots and serve nobody: the first version, never trained again, and one trained from scratch at
the end of each month.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from rescore.compiler.apply import apply
from rescore.compiler.definition import Definition, parse
from rescore.examples.cdnow.contenders import Contenders, Outcomes, table
from rescore.examples.cdnow.data import Purchase
from rescore.examples.cdnow.demo import (
    HISTORY_ENDS,
    Bar,
    Say,
    fresh_database,
    load_history,
    read_purchases,
)
from rescore.examples.cdnow.replay import MODEL, days, ends_month, moment, set_clock, statement
from rescore.server import private
from rescore.server.account import default_home
from rescore.server.libraries import python_path
from rescore.sql.install import install
from rescore.trainer.database import Connection, connection
from rescore.trainer.follow import advance, listen
from rescore.trainer.operations import demote, shadow
from rescore.trainer.train import train

DATABASE = "rescore_loop"
JUDGED = date(1998, 1, 1), date(1998, 4, 1)
"""The moments that are compared: from the first of these days on, before the second."""
RUN = ("run", "--follow-clock", "--every", "7d", "--tolerance", "0.02", "--json")


def run(home: Path | None, *, quick: bool, say: Say, bar: Bar) -> dict[str, Any]:
    """Run the replay on the private server, which keeps running.

    Parameters
    ----------
    As of `rescore.examples.cdnow.demo.run`; ``quick`` logs all of a tenth of the customers.

    Returns
    -------
    dict: ``contenders``, each with its metrics; ``rounds`` of learning; ``versions``, ``dsn``, …
    """
    started = time.monotonic()
    place = default_home() if home is None else home
    bought = read_purchases(place, quick, say)
    server = private.start(home, "demo")
    dsn = fresh_database(server.dsn, DATABASE)
    install(dsn, python_path=python_path(home=home))
    log = place / "loop.log"
    say(f"private PostgreSQL {server.version}; what `rescore run` says goes to {log}")
    beside = tell(dsn, bought, definition(everybody=quick), log, say, bar)
    with connection(dsn) as conn:
        result = judged(conn, beside, say)
    return result | {"dsn": dsn, "seconds": round(time.monotonic() - started, 1)}


def definition(*, everybody: bool) -> Definition:
    """Return the definition; with few customers all of them are logged each day."""
    text = files("rescore.examples.cdnow").joinpath("loop.yaml").read_text(encoding="utf-8")
    return parse(text.replace("share: 10%, ", "") if everybody else text, "loop.yaml")


def tell(
    dsn: str,
    bought: list[Purchase],
    defined: Definition,
    log: Path,
    say: Say,
    bar: Bar,
    *,
    step: int = 1,
) -> Contenders:
    """Play the whole story in an installed, otherwise empty database.

    Parameters
    ----------
    log: file for what the runner says.
    step: the runner is told every so many days that it is another day.
    """
    history = [p for p in bought if p.day <= HISTORY_ENDS]
    rest = [p for p in bought if p.day > HISTORY_ENDS]
    with connection(dsn) as conn:
        load_history(conn, history, HISTORY_ENDS, say)
        set_clock(conn, HISTORY_ENDS)
        apply(conn, defined)
        conn.execute("ANALYZE public.customer_profile")
        beside = Contenders(_train(conn, HISTORY_ENDS, candidate=False), [])
        with running(dsn, log), bar("days") as progress:
            listen(conn)
            live(conn, rest, beside, progress, step)
    return beside


def live(
    conn: Connection, rest: list[Purchase], beside: Contenders, progress: Any, step: int = 1
) -> None:
    """Let the days pass: purchases, then whatever the runner does by the end of the day."""
    last = rest[-1].day
    for day, today in days(rest):
        set_clock(conn, day)
        for p in today:
            conn.execute(statement("insert"), (p.customer_id, moment(day), p.quantity, p.amount))
        if (day - HISTORY_ENDS).days % step == 0:
            advance(conn, str(moment(day)))
            _keep_first(conn, beside)
        if ends_month(day) and day < last:
            _retrain(conn, day, beside)
        progress((day - HISTORY_ENDS).days, (last - HISTORY_ENDS).days)


def judged(conn: Connection, beside: Contenders, say: Say) -> dict[str, Any]:
    """Compare the contenders on what came of the snapshots; say how it stands."""
    outcomes = Outcomes.read(conn, beside, HISTORY_ENDS, JUDGED[1])
    compared = outcomes.between(*JUDGED)
    row = conn.execute(statement("loop_counts"), (MODEL,)).fetchone() or ()
    names = ("events", "snapshots", "resolved", "rounds", "published", "refused")
    counts = dict(zip(names, row, strict=True))
    say("\n" + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    say(f"{len(compared.labels):,} snapshots taken from {JUDGED[0]} on, before {JUDGED[1]}:\n")
    for line in table(compared):
        say(line)
    metrics = {
        name: {metric: each.to_json() for metric, each in found.items()}
        for name, found in compared.metrics().items()
    }
    differences = [
        {"one": one, "other": other, "metric": metric, **found.to_json()}
        for one, other, metric, found in compared.differences()
    ]
    weekly = list(outcomes.weekly())
    return {**counts, "contenders": metrics, "differences": differences, "weekly": weekly}


@contextmanager
def running(dsn: str, log: Path) -> Iterator[None]:
    """Have ``rescore run`` follow the replay's clock, in a process of its own."""
    command = [sys.executable, "-c", "from rescore.cli import main; main()", *RUN, "--dsn", dsn]
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _train(conn: Connection, day: date, *, candidate: bool) -> int:
    report = train(conn, MODEL, until=moment(day), publish=True, candidate=candidate)
    assert report.version is not None
    return report.version


def _keep_first(conn: Connection, beside: Contenders) -> None:
    """Once the first version does not serve any more, let it score on beside what does."""
    champion, shadows = conn.execute(statement("serving"), (MODEL,)).fetchone() or (None, [])
    if beside.first not in (champion, *shadows):
        shadow(conn, MODEL, beside.first)


def _retrain(conn: Connection, day: date, beside: Contenders) -> None:
    """Train from scratch on all that is known by now; it takes the place of last month's."""
    version = _train(conn, day, candidate=True)
    shadow(conn, MODEL, version)
    if beside.monthly:
        demote(conn, MODEL, beside.monthly[-1][1])
    beside.monthly.append((day, version))
