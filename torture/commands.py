"""Commands of rescore, as processes that are killed in the middle of their work, and run again."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from rescore import cli
from rescore.compiler.apply import apply
from rescore.sql.install import install
from rescore.torture import jobs, shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import Repeated, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
START_SECONDS = 60
POLL_SECONDS = 0.002
NAME = "torture killed"

# Forked from a process that has imported what commands need: most of their time would be that.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "rescore.cli",
        "rescore.compiler.apply",
        "rescore.sql.install",
        "rescore.trainer.operations",
        "rescore.trainer.loop.job",
        "sklearn.linear_model",
    ]
)


# Commands, the statement with which their work begins, and about how many seconds it takes.
KILLED: list[tuple[tuple[str, ...], str, float]] = [
    (("sweep", shop.PROFILE, "--batch", "5"), "%_sweep_%", 0.3),
    (("fold", shop.PROFILE, "--batch", "5"), "%_fold_step%", 0.1),
    (("snapshot", shop.PROFILE, "--batch", "10"), "%_snapshot_%", 0.3),
    (("learn", "churn"), "%", 0.5),
]
CHANGES: dict[str, Any] = {"queued": ("complaints",), "learning": "rounds"}


def warm() -> None:
    """Begin to import what commands need, beside whatever else goes on."""
    forkserver.ensure_running()


def all_killed(place: Place, size: Size) -> Outcome:
    """Kill each command in the middle, and go on as if nothing had been."""
    outcome = Outcome("commands killed in the middle")
    for number in range(max(1, size.crashes // 3)):
        _install_killed(place, outcome)
        _others_killed(place, number, outcome)
    return outcome


def _install_killed(place: Place, outcome: Outcome) -> None:
    """An installation that was cut short has changed nothing, and can be begun anew."""
    dsn = place.dsn(place.database())
    with psycopg.connect(dsn, autocommit=True) as conn:
        outcome.note({"install killed": killed(conn, "install", dsn=dsn, within=1.0)})
        wait_alone(conn)
        found = _objects(conn)
        install(dsn)
        # All of it is there where the command was killed between its commit and its end.
        if found not in (0, _objects(conn)):
            outcome.lost.append(f"an installation cut short left {found} objects")


def _objects(conn: Connection) -> int:
    row = conn.execute(query("commands", "installed")).fetchone()
    return int(row[0]) if row else 0


def _others_killed(place: Place, number: int, outcome: Outcome) -> None:
    """What was done in part is done in full by the next call, while clients write."""
    dsn, changed = place.dsn(place.shop()), {**CHANGES, "larger_than": number}
    clients = [Client(lambda: dsn, n) for n in range(2)]
    logging = Repeated(lambda: dsn, jobs.log, outcome, survives=True)
    file = place.home / "changed.yaml"
    file.write_text(shop.text(**changed), encoding="utf-8")
    with psycopg.connect(dsn, autocommit=True) as conn:
        apply(conn, shop.definition(**CHANGES))
        with in_background([*clients, logging]):
            for words, doing, within in (*KILLED, (("apply", str(file)), "%", 0.5)):
                shop.publish(conn, seed=number % 3)
                done = killed(conn, *words, dsn=dsn, within=within, doing=doing)
                outcome.note({f"{words[0]} killed": done})
                wait_alone(conn)
        apply(conn, shop.definition(**changed))
        outcome.note(merged([c.book for c in clients]))
        outcome.note(jobs.learn_on(conn))
        jobs.settle(conn)
        outcome.lost += audit(conn, [c.book for c in clients])


def killed(conn: Connection, *words: str, dsn: str, within: float, doing: str = "%") -> int:
    """Run a command and kill it with -9 once its session is at work; return 1 if it still ran.

    Parameters
    ----------
    conn: of the same database; sees what the command does.
    within: seconds, of which a random part passes between the beginning of its work and the kill.
    doing: pattern of a statement; the work begins with it.
    """
    process = FORK.Process(
        target=_run, args=(*words, "--dsn", make_conninfo(dsn, application_name=NAME))
    )
    process.start()
    try:
        _wait_until(conn, doing, process)
        time.sleep(random.uniform(0, within))
        return int(process.is_alive())
    finally:
        process.kill()
        process.join()


def finished(*words: str, dsn: str) -> int:
    """Run a command to its end, and return its exit code."""
    process = FORK.Process(target=_run, args=(*words, "--dsn", dsn))
    process.start()
    process.join()
    return process.exitcode or 0


def _run(*words: str) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.argv = ["rescore", *words]
    cli.main()


def _wait_until(conn: Connection, doing: str, process: BaseProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        row = conn.execute(query("commands", "at_work"), [doing]).fetchone()
        if row and row[0]:
            return
        time.sleep(POLL_SECONDS)


def wait_alone(conn: Connection) -> None:
    """Wait until the backends of killed commands have noticed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        row = conn.execute(query("commands", "left")).fetchone()
        if row and not row[0]:
            return
        time.sleep(0.05)
