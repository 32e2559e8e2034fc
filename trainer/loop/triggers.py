"""When a model is to learn: by time, by new labels, on request, by quality, by drift."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import Any

from rescore.trainer.database import Connection, query, translated
from rescore.trainer.learning.hashing import groups
from rescore.trainer.learning.histogram import GROUPS
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.prequential import gives_probabilities
from rescore.trainer.learning.target import counter, measured, metric_of, typed
from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import State, read_state

NEWEST = 2_000
"""Examples by which the quality of what is served is told."""
_LAST = Position(2**62, 2**62)


def due(conn: Connection, model: str, stop: Event | None = None) -> str | None:
    """Return why a model is to learn now, in words; None when it is not.

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    Stopped: ``stop`` was set.
    """
    with translated():
        state = read_state(conn, model)
        when, learn = state.terms.learn.when, state.terms.learn
        row = conn.execute(query("learn_due"), _given(state)).fetchone()
        assert row is not None
        requested, waited, labels = row
        if when.request and requested:
            return f"request {requested}"
        enough = labels >= (learn.examples or learn.batch)
        if when.every and _is_time(waited, when.every, enough=enough):
            return "first round" if waited is None else f"{_said(when.every)} since the last round"
        if when.labels and labels >= when.labels:
            return f"{labels} new labels"
        if not enough:
            return None
        return _worse(conn, state) or _moved(conn, state, stop)


def _is_time(waited: float | None, every: timedelta, *, enough: bool) -> bool:
    """Say whether a round is due by time: the first, and one after a clock went back, by number."""
    return enough if waited is None or waited < 0 else waited >= every.total_seconds()


def _said(length: timedelta) -> str:
    days, rest = divmod(length, timedelta(days=1))
    return str(length) if rest else f"{days} day{'s' if days > 1 else ''}"


def _given(state: State) -> dict[str, Any]:
    learn = state.terms.learn
    enough = max(learn.when.labels or 0, learn.examples or learn.batch)
    return {
        "model": state.model,
        **state.position._asdict(),
        "enough": enough,
        "labelled": state.terms.target != "segments",
    }


def _moved(conn: Connection, state: State, stop: Event | None) -> str | None:
    limit = state.terms.learn.when.drift
    if limit is None:
        return None
    found = max(watch(conn, state.model, stop), key=lambda each: each.excess, default=None)
    if found is None or found.excess <= limit:
        return None
    return f"{found.feature} moved by a stability index of {found.numbers['psi']:.3g}"


def _worse(conn: Connection, state: State) -> str | None:
    """Compare what is served now with what it was when it was tested; chance is left out."""
    limit, name = state.terms.learn.when.quality, state.terms.rules.metric
    before = state.champion.metrics.get(name)
    if limit is None or not isinstance(before, (int, float)):
        return None
    now = served_quality(conn, state)
    if now is None or not now.known:
        return None
    better = metric_of(name, state.terms.target).better
    loss = -better * ((now.high if better > 0 else now.low) - before)
    told = f"{name} of what is served is {now.estimate:.4g}, it was {before:.4g} when tested"
    return told if loss > limit else None


def served_quality(conn: Connection, state: State) -> Interval | None:
    """Return the metric of the champion's scores of the newest examples that it has not learnt."""
    block = _unlearnt(Reader.of(conn, state), state)
    probability = gives_probabilities(state.champion.estimator)
    target = state.terms.target
    compared = metric_of(state.terms.rules.metric, target)
    if not len(block) or (compared.probability and not probability):
        return None
    scores = measured(state.champion.estimator, block.design, target)
    histogram = counter(scores, target, probability=probability)
    histogram.add(scores, typed(block.labels, target), groups(block.hashes, GROUPS), block.weights)
    return intervals(histogram, [compared])[compared.name]


def _unlearnt(reader: Reader, state: State) -> Block:
    share = state.terms.learn.test_share
    if share is None:
        return reader.past(state.position, NEWEST)
    return reader.tests(_LAST, share, state.standing.known, NEWEST)
