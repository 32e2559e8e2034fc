"""When a model is to learn: by time, by new labels, on request, by quality, by drift."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import NamedTuple

from rescore.trainer.database import Connection, query, translated
from rescore.trainer.learning.hashing import groups
from rescore.trainer.learning.histogram import GROUPS
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.prequential import gives_probabilities
from rescore.trainer.learning.target import counter, measured, metric_of, threshold_of, typed
from rescore.trainer.loop.attempt import moment
from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import State, read_state

NEWEST = 2_000
"""Examples by which the quality of what is served is told."""
_LAST = Position(2**62, 2**62)


class Idle(NamedTuple):
    """A round that found too little to learn or to test on: until more comes, so would the next.

    Attributes
    ----------
    line: the version that it went on from.
    read_to: what was resolved after it had not come yet.
    digest: of the definition: by another one it may be enough.
    """

    line: int
    read_to: Position
    digest: str | None


def due(
    conn: Connection, model: str, stop: Event | None = None, *, idle: Idle | None = None
) -> str | None:
    """Return why a model is to learn now, in words; None when it is not.

    Parameters
    ----------
    idle: the last round, where it was one; labels are counted from there.

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    Stopped: ``stop`` was set.
    """
    with translated():
        state = read_state(conn, model)
        when, learn = state.terms.learn.when, state.terms.learn
        given = {"model": model, **state.position._asdict()}
        row = conn.execute(query("learn_due"), given).fetchone()
        assert row is not None
        requested, waited = row
        if when.request and requested:
            return f"request {requested}"
        reader, needed = Reader.of(conn, state), learn.examples or learn.batch
        most = max(when.labels or 0, needed)
        behind = reader.labels(state.position, most)
        new = behind if idle is None else reader.labels(_begin(state, idle), most)
        # Where the newest are tested on, one more example seldom settles another micro-batch.
        fewest = 0 if idle is None else 1 if learn.test_share else needed
        if new >= fewest and behind >= needed and _is_time(reader, state, waited):
            return _waited(state, waited)
        if when.labels and new >= when.labels:
            return f"{new} new labels"
        if new < needed:
            return None
        return _worse(conn, state) or _moved(conn, state, stop)


def _begin(state: State, idle: Idle) -> Position:
    """Return where counting new labels begins after a round that found too little."""
    same = idle.line == state.line.number
    return max(state.position, idle.read_to) if same else state.position


def _is_time(reader: Reader, state: State, waited: float | None) -> bool:
    """Say whether a round is due by time: also the first, and one after a clock went back."""
    learn = state.terms.learn
    if learn.when.every is None:
        return False
    if waited is not None and 0 <= waited < learn.when.every.total_seconds():
        return False
    return learn.test_share is not None or _is_settled(reader, state)


def _is_settled(reader: Reader, state: State) -> bool:
    """Say whether the next micro-batch was known before the newest, which are tested on."""
    settles, newest = reader.settles(state.position, state.terms.learn.batch)
    if settles is None or newest is None:
        return False
    return settles <= newest - state.terms.learn.test_length


def _waited(state: State, waited: float | None) -> str:
    every = state.terms.learn.when.every
    assert every is not None  # else it is not time
    return "first round" if waited is None else f"{_said(every)} since the last round"


def _said(length: timedelta) -> str:
    days, rest = divmod(length, timedelta(days=1))
    return str(length) if rest else f"{days} day{'s' if days > 1 else ''}"


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
    """Return the metric of the champion's scores of the newest examples that it has not learnt.

    Where the newest time is tested on, these are the ones taken after all that was learnt.
    """
    block = _unlearnt(Reader.of(conn, state), state)
    probability = gives_probabilities(state.champion.estimator)
    target = state.terms.target
    compared = metric_of(state.terms.rules.metric, target)
    if not len(block) or (compared.probability and not probability):
        return None
    scores = measured(state.champion.estimator, block.design, target)
    threshold = threshold_of(state.champion.estimator)
    histogram = counter(scores, target, probability=probability, threshold=threshold)
    histogram.add(scores, typed(block.labels, target), groups(block.hashes, GROUPS), block.weights)
    return intervals(histogram, [compared])[compared.name]


def _unlearnt(reader: Reader, state: State) -> Block:
    share, since = state.terms.learn.test_share, state.standing.known
    if share is None and state.standing.latest is not None:
        later = moment(state.standing.latest) + timedelta(microseconds=1)
        since = later if since is None else max(since, later)
    return reader.tests(_LAST, 1.0 if share is None else share, since, NEWEST)
