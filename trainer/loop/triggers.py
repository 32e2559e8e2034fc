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
        needed = learn.examples or learn.batch
        labels = _new_labels(conn, state, max(when.labels or 0, needed), idle)
        enough = labels >= needed
        fresh = labels > 0 or idle is None
        if when.every and fresh and _is_time(waited, when.every, enough=enough):
            return "first round" if waited is None else f"{_said(when.every)} since the last round"
        if when.labels and labels >= when.labels:
            return f"{labels} new labels"
        if not enough:
            return None
        return _worse(conn, state) or _moved(conn, state, stop)


def _new_labels(conn: Connection, state: State, most: int, idle: Idle | None) -> int:
    same = idle is not None and idle.line == state.line.number
    begin = max(state.position, idle.read_to) if idle and same else state.position
    return Reader.of(conn, state).labels(begin, most)


def _is_time(waited: float | None, every: timedelta, *, enough: bool) -> bool:
    """Say whether a round is due by time: the first, and one after a clock went back, by number."""
    return enough if waited is None or waited < 0 else waited >= every.total_seconds()


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
    share = 1.0 if share is None else share
    # Of fewer customers where one round has more: those resolved last have the greatest keys.
    asked = round(NEWEST / share)
    rounds = reader.rounds(asked, resolved=True)
    later = max(rounds.since + timedelta(microseconds=1), since or rounds.since)
    return reader.tests(_LAST, share * rounds.share(asked), later, 2 * NEWEST)
