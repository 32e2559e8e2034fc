"""What goes on beside the clients: versions published, rows swept, folded, logged, learnt."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg

from rescore.compiler.apply import apply
from rescore.errors import Busy, NoServer, NotEnoughData, RescoreError
from rescore.torture import shop
from rescore.torture.outcome import Outcome
from rescore.torture.queries import query
from rescore.trainer import snapshots
from rescore.trainer.database import translate
from rescore.trainer.loop.learn import learn

Connection = psycopg.Connection[Any]
Job = Callable[[threading.Event], Any]
Act = Callable[[Connection], Mapping[str, int]]
PUBLISH_SECONDS = 0.5
# Publishes of one model in a row; for as long the other is left alone, and can be learnt.
IN_A_ROW = 8
# Of what a job is late, no more is made up for.
MADE_UP_SECONDS = 2.0
MOST_REST_SECONDS = 0.25
END_SECONDS = 120
BESIDE_SECONDS = 0.2
LEARNT_SECONDS = 60


@contextmanager
def in_background(jobs: Sequence[Job]) -> Iterator[None]:
    """Run jobs in threads of their own while the block runs; then stop them, and pass on errors."""
    stop = threading.Event()
    with ThreadPoolExecutor(max(len(jobs), 1)) as pool:
        running = [pool.submit(job, stop) for job in jobs]
        try:
            yield
        finally:
            stop.set()
            for each in running:
                each.result(timeout=END_SECONDS)


@dataclass
class Repeated:
    """Does something again and again in a session of its own, until stopped.

    Attributes
    ----------
    dsn: asked for anew before each connection, as a client's is.
    act: does it once, and returns what was done how often.
    outcome: where that is counted, and what should not have happened is noted.
    every: seconds from the beginning of one to that of the next; what was late is made up for.
    survives: whether it expects to be cancelled or to lose its connection, and then goes on.
    publishes: whether its session is to have scikit-learn in the server before it is ready.
    """

    dsn: Callable[[], str]
    act: Act
    outcome: Outcome
    every: float = 0.05
    survives: bool = False
    publishes: bool = False
    ready: threading.Event = field(default_factory=threading.Event)
    _due: float = math.inf

    @property
    def late(self) -> float:
        """Seconds since the next one should have begun; 0 when it is not late."""
        return max(time.monotonic() - self._due, 0.0)

    def __call__(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(
                    self.dsn(), autocommit=True, fallback_application_name="rescore torture"
                ) as conn:
                    self._repeat(conn, stop)
            except (psycopg.Error, RescoreError) as error:
                if not (self.survives and _was_cut_short(error)):
                    self.outcome.lost.append(f"{self.act.__name__}: {_told(error)}")
                    return
                self.outcome.note({"jobs cut short": 1})
                stop.wait(0.05)

    def _repeat(self, conn: Connection, stop: threading.Event) -> None:
        if self.publishes:
            with conn.transaction(force_rollback=True):
                shop.publish(conn)
        self._due = time.monotonic()
        self.ready.set()
        while not stop.wait(max(self._due - time.monotonic(), 0.01)):
            self._due = max(self._due, time.monotonic() - MADE_UP_SECONDS) + self.every
            self.outcome.note(self.act(conn))


def _was_cut_short(error: psycopg.Error | RescoreError) -> bool:
    """Whether it was cancelled, its session ended, or another one still has what it wants."""
    return isinstance(_known(error), NoServer | Busy)


def _told(error: psycopg.Error | RescoreError) -> str:
    known = _known(error)
    return f"{known.message} {known.detail}".strip()


def _known(error: psycopg.Error | RescoreError) -> RescoreError:
    return translate(error) if isinstance(error, psycopg.Error) else error


def publishing(dsn: str, outcome: Outcome) -> Repeated:
    """Publish a version every half second, and take some back; now and then roll a model back."""
    numbers = count()

    def publish(conn: Connection) -> Mapping[str, int]:
        number = next(numbers)
        model = shop.MODELS[number // IN_A_ROW % len(shop.MODELS) - 1]  # the learner's last
        taken_back = number % 7 == 5
        with conn.transaction(force_rollback=taken_back):
            shop.publish(conn, model, seed=number % 3)
        if number % 7 != 6:
            return {"publishes taken back" if taken_back else "publishes": 1}
        conn.execute(query("jobs", "rollback"), [model])
        return {"publishes": 1, "models rolled back": 1}

    return Repeated(lambda: dsn, publish, outcome, PUBLISH_SECONDS, publishes=True)


def await_ready(*jobs: Repeated) -> None:
    """Wait until the sessions of jobs have what they need."""
    for each in jobs:
        each.ready.wait(END_SECONDS)


def go_on(outcome: Outcome, seconds: float) -> None:
    """Let things go on so long, and on a slow machine until a version was learnt beside them."""
    began = time.monotonic()
    while (gone := time.monotonic() - began) < seconds or (
        gone < LEARNT_SECONDS and not outcome.done["versions learnt"]
    ):
        time.sleep(0.1)


def resting(publisher: Repeated) -> Callable[[], float]:
    """Return how long clients rest between statements: while the publisher is late."""
    return lambda: min(publisher.late / 4, MOST_REST_SECONDS)


def sweep(conn: Connection) -> Mapping[str, int]:
    """Sweep the profile in small batches."""
    conn.execute(query("jobs", "sweep"), [shop.PROFILE, 30])
    return {"sweeps": 1}


def fold(conn: Connection) -> Mapping[str, int]:
    """Count what waits in the queue, in small batches."""
    conn.execute(query("jobs", "fold"), [shop.PROFILE, 20])
    return {"folds": 1}


def log(conn: Connection) -> Mapping[str, int]:
    """Log the round of snapshots that is due, in small batches, and resolve what is due."""
    done = snapshots.log(conn, shop.PROFILE, rounds=_takes_rounds(conn), batch=30)
    return {"rounds of snapshots": int(done.taken > 0), "labels resolved": done.resolved}


def _takes_rounds(conn: Connection) -> bool:
    row = conn.execute(query("jobs", "takes_rounds"), [shop.PROFILE]).fetchone()
    return bool(row and row[0])


def learn_on(conn: Connection) -> Mapping[str, int]:
    """Learn a round of what was resolved, as `rescore learn` does."""
    only_one = threading.Event()
    try:
        found = learn(conn, "churn", wait=True, stop=only_one, progress=lambda *_: only_one.set())
    except Busy:  # another version serves since, or somebody cancelled it
        return {"rounds of learning given up": 1}
    except NotEnoughData:
        return {}
    made = [each for each in found.rounds if each.version]
    return {"versions learnt": len(made), "examples learnt": sum(each.examples for each in made)}


def applying(**changes: Any) -> Act:
    """Return what applies changed definitions, one after the other; see :func:`shop.text`."""
    numbers = count(1)

    def change(conn: Connection) -> Mapping[str, int]:
        larger = next(numbers) % 50
        apply(conn, shop.definition(larger_than=larger, **changes), drop=True, attempts=3)
        return {"definitions applied": 1}

    return change


def publish_worth() -> Act:
    """Return what publishes versions of a model whose features stay what they are."""
    numbers = count()

    def publish(conn: Connection) -> Mapping[str, int]:
        shop.publish(conn, "worth", seed=next(numbers) % 3)
        return {"publishes": 1}

    return publish


def settle(conn: Connection) -> None:
    """Bring to its end what goes on by itself: the queue, the sweep, the round of snapshots."""
    conn.execute(query("jobs", "fold"), [shop.PROFILE, 1000])
    conn.execute(query("jobs", "sweep"), [shop.PROFILE, 1000])
    if _takes_rounds(conn):
        snapshots.log(conn, shop.PROFILE)
