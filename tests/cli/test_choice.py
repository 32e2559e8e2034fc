"""The choice of half-life and rate: nothing is learnt before it could be known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from rescore.examples.cdnow import choice
from rescore.tests.learning_shop import WEIGHTS, drawn, fitted
from rescore.trainer.learning import prequential
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory, Method
from rescore.trainer.learning.metrics import METRICS
from rescore.trainer.learning.models import Rate

SPEC = {"sgd_classifier": {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.01}}
METHOD = Method(SPEC, rate=Rate(0.02))


def played(turns: date | None = None) -> tuple[Any, dict[date, choice.Day]]:
    """A first version that knows little, and days; from one of them on, all effects turn round."""
    rng = np.random.default_rng(7)
    first = fitted(*drawn(rng, 2000), WEIGHTS * 0.2)
    found, day = {}, choice.FIRST
    while day <= choice.LAST - choice.HORIZON:
        design, labels = drawn(rng, 40, -1.0 if turns and day >= turns else 1.0)
        batch = Batch(design, labels.astype(np.int8), np.arange(40, dtype=np.uint64))
        found[day], day = choice.Day(batch, batch), day + timedelta(days=1)
    return first, found


def of_first(first: Any, found: dict[date, choice.Day]) -> float:
    """Log loss of the first version on what is held against the others."""
    tested, learner = prequential.Tested(probability=True), Learner.resume(first, METHOD, Memory())
    for day in (each for each in found if each >= choice.TRAINED):
        tested.add(learner.score(found[day].logged.design).scores, found[day].logged)
    return tested.intervals([METRICS["log_loss"]])["log_loss"].estimate


def test_what_learns_is_better_and_what_does_not_is_the_first() -> None:
    first, found = played()
    still = choice.choose(first, Memory(), found, replace(METHOD, rate=Rate(1e-12)), 100)
    learnt = choice.choose(first, Memory(), found, METHOD, 100)
    assert abs(still.served.estimate - of_first(first, found)) < 1e-3
    assert learnt.served.estimate < still.served.estimate - 0.02
    assert learnt.tested.estimate < still.tested.estimate


def test_no_version_knows_what_came_after() -> None:
    last = choice.LAST - 2 * choice.HORIZON
    calm = choice.choose(*_given(played()), METHOD, 100)
    _, turned = played(last + timedelta(days=1))
    first, found = played()
    mixed = {d: choice.Day(found[d].logged, turned[d].learnt) for d in found}
    same = choice.choose(first, Memory(), mixed, METHOD, 100)
    assert same == calm  # what was logged later than that is known too late for any of them
    _, turned = played(choice.FIRST)
    mixed = {d: choice.Day(found[d].logged, turned[d].learnt) for d in found}
    assert choice.choose(first, Memory(), mixed, METHOD, 100) != calm


def _given(of: tuple[Any, dict[date, choice.Day]]) -> tuple[Any, Memory, dict[date, choice.Day]]:
    return of[0], Memory(), of[1]
