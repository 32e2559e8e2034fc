"""``make choose``: half-life and learning rate of the replay, chosen on 1997 alone.

Whatever is chosen on the months that are judged flatters itself. So the same is played earlier: the
first version is trained on June 30, 1997, snapshots of March 31 and later become examples 90 days
later, once a week there is a new version, and what each said from July on is held against what came
of it by December 31. No purchase of 1998 is in the database. What learns is the loop's own learner;
there is no gate, which lets through nearly all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np

from rescore.compiler.apply import apply
from rescore.examples.cdnow.data import Purchase, purchases
from rescore.examples.cdnow.demo import fresh_database, load_history
from rescore.examples.cdnow.loop import definition
from rescore.examples.cdnow.replay import MODEL, moment, set_clock
from rescore.server import private
from rescore.server.account import default_home
from rescore.server.libraries import python_path
from rescore.sql.install import install
from rescore.trainer import examples as ex
from rescore.trainer.database import Connection, connection
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.hashing import hash_keys, shares
from rescore.trainer.learning.intervals import Interval
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory, Method
from rescore.trainer.learning.metrics import METRICS
from rescore.trainer.learning.models import Rate
from rescore.trainer.learning.prequential import Prequential, Tested
from rescore.trainer.loop.terms import Terms
from rescore.trainer.snapshots import BATCH
from rescore.trainer.split import Moment
from rescore.trainer.train import TrainingReport, train

DATABASE = "rescore_choice"
TRAINED, LAST = date(1997, 6, 30), date(1997, 12, 31)
"""When the first version is trained, and the last day of which anything is known."""
HORIZON, WEEK = timedelta(days=90), 7
FIRST = TRAINED - HORIZON - timedelta(days=1)
"""Day of the first snapshot that is learnt: after the last moment of training."""
SHARE = 0.1  # of the customers, logged each day, and as many never learnt: as in loop.yaml
HALF_LIVES = (15.0, 30.0, 60.0, 90.0, 180.0, None)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Day:
    """The snapshots of a day.

    Attributes
    ----------
    logged: all of them, with what came of them.
    learnt: those of customers whom versions may learn from.
    """

    logged: Batch
    learnt: Batch


@dataclass(frozen=True)
class Choice:
    """What came of one way to learn.

    Attributes
    ----------
    half_life: days; None for never forgetting.
    served: log loss of what the versions said, each 90 days before it was known.
    tested: prequential log loss, of each micro-batch just before it was learnt.
    """

    half_life: float | None
    rate: float
    served: Interval
    tested: Interval


def days_of(conn: Connection, report: TrainingReport) -> dict[date, Day]:
    """Return the snapshots of each day whose outcomes were known by the last."""
    source = ex.read_source(conn, MODEL)
    columns = [each for _, each in ex.design_columns(conn, report.contract)]
    count = (LAST - HORIZON - FIRST).days + 1
    found = (FIRST + timedelta(days=n) for n in range(count))
    return {day: _day(conn, source, columns, day) for day in found}


def _day(conn: Connection, source: ex.Source, columns: Sequence[str], day: date) -> Day:
    read = ex.read_examples(conn, source, columns, Moment(moment(day), moment(day + HORIZON)))
    rows = conn.execute(
        "SELECT DISTINCT customer_id FROM public.orders WHERE ordered_at <= %s ORDER BY 1",
        [moment(day)],
    )
    keys = [key for (key,) in rows]
    assert len(keys) == len(read.labels)  # each has an outcome: nobody is treated or censored
    logged = shares(hash_keys(keys, f"logged {day}")) < SHARE
    learnt = shares(hash_keys(keys, f"learn {MODEL}")) >= SHARE
    hashes = hash_keys(keys, "choice")
    # Batch after batch, each in the order of a hash, as a round of snapshots logs them.
    order = np.lexsort((hash_keys(keys, f"order {day}"), np.arange(len(keys)) // BATCH))
    return Day(*(Batch(read.design[rows], read.labels[rows], hashes[rows])
                 for rows in (order[logged[order]], order[(logged & learnt)[order]])))  # fmt: skip


def choose(first: Any, memory: Memory, found: dict[date, Day], method: Method, size: int) -> Choice:
    """Learn as the loop would have, and say how well its versions did.

    Parameters
    ----------
    first, memory: the first version, and what it remembers.
    size: examples of a micro-batch.
    """
    learner = Learner.resume(first, method, memory)
    loop, served = Prequential(learner), Tested(probability=True)
    serving, last, waiting = learner.estimator, TRAINED - HORIZON, _Waiting(size)
    for day, known in _in_order(found):
        if day >= TRAINED:
            scores = Learner.resume(serving, method, learner.memory).score(found[day].logged.design)
            served.add(scores.scores, found[day].logged)
        for batch in waiting.full(found[known]):
            loop.step(batch, float((known - last).days))
            last = known
        if (day - TRAINED).days % WEEK == 0:
            serving = learner.estimator
    asked = [METRICS["log_loss"]]
    rate = method.rate.eta0 if method.rate else 0.0
    results = served.intervals(asked)["log_loss"], loop.tested.intervals(asked)["log_loss"]
    return Choice(method.half_life, rate, *results)


def _in_order(found: dict[date, Day]) -> Iterator[tuple[date, date]]:
    """Yield each day from that of training on, and the day whose outcomes it makes known."""
    day = FIRST + HORIZON
    while day <= max(found):
        yield day, day - HORIZON
        day += timedelta(days=1)


class _Waiting:
    """What has become known and does not fill a micro-batch yet."""

    def __init__(self, size: int) -> None:
        self._size, self._left = size, list[Batch]()

    def full(self, day: Day) -> Iterator[Batch]:
        """Yield the micro-batches that a day fills."""
        joined = Batch.joined([*self._left, day.learnt])
        whole = len(joined) // self._size * self._size
        for start in range(0, whole, self._size):
            yield joined.take(slice(start, start + self._size))
        self._left = [joined.take(slice(whole, None))]


def methods(terms: Terms) -> Iterator[Method]:
    """Yield the ways to learn that are compared."""
    for half_life, rate in product(HALF_LIVES, RATES):
        yield replace(terms.method, half_life=half_life, rate=Rate(rate))


def table(choices: Sequence[Choice]) -> list[str]:
    """Return the log losses of what served, by half-life and rate, as a table in Markdown."""
    rates = sorted({each.rate for each in choices})
    lines = [f"| half-life | {' | '.join(f'rate {rate:g}' for rate in rates)} |"]
    lines.append("|---|" + "---|" * len(rates))
    for half_life in dict.fromkeys(each.half_life for each in choices):
        mine = {each.rate: each for each in choices if each.half_life == half_life}
        name = f"{half_life:g} days" if half_life else "none"
        shown = (f"{mine[r].served.estimate:.4f}, {mine[r].tested.estimate:.4f}" for r in rates)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def run(say: Say, bought: list[Purchase], dsn: str) -> list[Choice]:
    """Do all of it in an installed, otherwise empty database; return the best first."""
    defined = definition(everybody=False)
    with connection(dsn) as conn:
        load_history(conn, [p for p in bought if p.day <= LAST], LAST, say)
        set_clock(conn, LAST)
        apply(conn, defined)
        report = train(conn, MODEL, until=moment(TRAINED))
        spec: dict[str, Any] = dict(ex.read_source(conn, MODEL).spec)
        found = days_of(conn, report)
    terms, memory = Terms.of(spec), Memory.from_json(report.lineage["memory"])
    say(f"{len(found)} days of snapshots, trained on {report.examples:,} examples")
    choices = []
    for method in methods(terms):
        choices.append(choose(report.pipeline, memory, found, method, terms.learn.batch))
        say(str(choices[-1]))
    for line in table(choices):
        say(line)
    return sorted(choices, key=lambda each: each.served.estimate)


def main() -> None:
    """Choose, and say what was found."""
    bought = purchases(default_home() / "cdnow")
    dsn = fresh_database(private.start(None, "demo").dsn, DATABASE)
    install(dsn, python_path=python_path())
    best = run(print, bought, dsn)[0]
    print(f"\nbest: {best}")


if __name__ == "__main__":
    main()
