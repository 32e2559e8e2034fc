"""The replay that `rescore run` learns from: one customer in sixty, the first weeks, told weekly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from rescore.compiler.definition import Definition, parse
from rescore.examples.cdnow import data, loop
from rescore.examples.cdnow.contenders import LOOP, MONTHLY, NEVER, Contenders, Outcomes, table
from rescore.examples.cdnow.demo import HISTORY_ENDS
from rescore.server.account import default_home
from rescore.tests.support import one
from rescore.trainer.database import connection

LAST = date(1998, 1, 19)  # the first outcomes are known 90 days after October 7


def bought() -> list[data.Purchase]:
    found = data.purchases(default_home() / "cdnow")
    return [p for p in found if p.customer_id % 60 == 0 and p.day <= LAST]


def defined() -> Definition:
    """The example's own definition, for few customers."""
    text = files("rescore.examples.cdnow").joinpath("loop.yaml").read_text(encoding="utf-8")
    few = "test: 40%\n      minimum: {customers: 60, positives: 10, negatives: 5}"
    return parse(
        text.replace("every: 1 day, share: 10%", "every: 7 days").replace("test: 10%", few)
    )


@contextmanager
def no_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda done, total: None


@pytest.mark.long
def test_the_runner_learns_from_a_replay(dsn: str, tmp_path: Path) -> None:
    purchases, log = bought(), tmp_path / "log"
    beside = loop.tell(dsn, purchases, defined(), log, print, no_bar, step=7)
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert not [facts for facts in said if "error" in facts]
    assert [day for day, _ in beside.monthly] == [
        date(1997, 10, 31), date(1997, 11, 30), date(1997, 12, 31)
    ]  # fmt: skip
    with connection(dsn) as conn:
        _every_week_is_logged_and_resolved(conn)
        assert one(conn, "SELECT count(*) FROM public.orders") == len(purchases)
        assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0
        learnt = one(
            conn,
            "SELECT count(*) FROM rescore.learn_log WHERE action IN ('published', 'refused') AND examples > 0",
        )
        assert learnt >= 1
        assert one(conn, "SELECT verdict FROM rescore.served_quality WHERE version = 1") == "open"
        outcomes = Outcomes.read(conn, beside, HISTORY_ENDS, LAST)
    _each_is_compared(outcomes)


def _every_week_is_logged_and_resolved(conn: object) -> None:
    days, logged, resolved = one(
        conn,  # type: ignore[arg-type]
        """SELECT count(DISTINCT taken_at), count(DISTINCT taken_at) * (SELECT count(*) FROM customer_profile) - count(*),
                  max(taken_at) FILTER (WHERE resolved IS NOT NULL)::date FROM rescore.snapshots""",
    )
    assert (days, logged, resolved) == (15, 0, date(1997, 10, 14))


def _each_is_compared(outcomes: Outcomes) -> None:
    assert set(outcomes.scores) == {LOOP, MONTHLY, NEVER}
    assert len(outcomes.labels) == 2 * len(np.unique(outcomes.hashes))
    assert all(((s > 0) & (s < 1)).all() for s in outcomes.scores.values())
    found = outcomes.metrics()
    assert found[LOOP]["auc"].known and found[LOOP]["auc"].estimate > 0.6
    lines = table(outcomes)
    assert sum(LOOP in line for line in lines) == 4  # its row, and three differences
    weekly = list(outcomes.weekly())
    assert [each["week"] for each in weekly[::3]] == ["1997-10-07", "1997-10-14"]


def test_each_day_has_its_contenders() -> None:
    beside = Contenders(1, [(date(1997, 10, 31), 2), (date(1997, 11, 30), 4)])
    assert beside.versions_on(date(1997, 10, 31), 3) == {LOOP: 3, MONTHLY: 1, NEVER: 1}
    assert beside.versions_on(date(1997, 11, 1), 3) == {LOOP: 3, MONTHLY: 2, NEVER: 1}
    assert beside.versions_on(date(1998, 1, 1), 5) == {LOOP: 5, MONTHLY: 4, NEVER: 1}
