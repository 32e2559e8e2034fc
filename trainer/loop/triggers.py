"""When a model is to learn: by time, by new labels, on request, by quality, by drift."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

from rescore.trainer.database import Connection, query, translated
from rescore.trainer.learning.hashing import groups
from rescore.trainer.learning.histogram import GROUPS
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.prequential import gives_probabilities
from rescore.trainer.learning.target import counter, measured, metric_of, threshold_of, typed
from rescore.trainer.loop.attempt import moment
from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.looked import Looked
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import State, read_state

NEWEST = 2_000
"""Examples by which the quality of what is served is told."""


def due(
    conn: Connection, model: str, stop: Event | None = None, *, looked: Looked | None = None
) -> str | None:
    """Return why a model is to learn now, in words; None when it is not.

    Parameters
    ----------
    looked: what was found at earlier looks, and what the last round did not find.

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    Stopped: ``stop`` was set.
    """
    with translated():
        state = read_state(conn, model)
        row = conn.execute(query("learn_due"), {"model": model}).fetchone()
        assert row is not None
        requested, waited = row
        if state.terms.learn.when.request and requested:
            return f"request {requested}"
        look = _Look(state, Reader.of(conn, state), looked or Looked())
        return look.by_time(waited) or look.by_labels() or look.by_what_is_served(stop)


class _Look:
    """A look at what has come behind the position of a model.

    Parameters
    ----------
    looked: see :func:`due`.
    """

    def __init__(self, state: State, reader: Reader, looked: Looked) -> None:
        learn = state.terms.learn
        self._state, self._reader, self._looked = state, reader, looked
        self._when, self._by_time = learn.when, learn.test_share is None
        self._needed = learn.examples or learn.batch
        self._most = max(learn.when.labels or 0, self._needed)
        self._begin, last = state.position, looked.last
        known = last is not None and last.line == state.line.number
        self._last = last if known else None
        # Where the newest are tested on, the last round has read all that it did not learn.
        if self._last and (self._last.idle or self._by_time):
            self._begin = max(state.position, self._last.read_to)
        looked.begin(reader, self._most, {state.position, self._begin})

    def by_time(self, waited: float | None) -> str | None:
        """Say whether it is time: also for the first round, and after a clock went back."""
        every = self._when.every
        if every is None or (waited is not None and 0 <= waited < every.total_seconds()):
            return None
        if not (self._has_come() and self._can_learn()):
            return None
        return "first round" if waited is None else f"{_said(every)} since the last round"

    def _has_come(self) -> bool:
        """Say whether there is more than the last round knew, where that came to nothing."""
        if self._last is None or not self._last.idle:
            return True
        # Where the newest are tested on, one more example seldom settles another micro-batch.
        return self._new >= (self._needed if self._by_time else 1)

    def _can_learn(self) -> bool:
        """Say whether there is enough for a round."""
        return self._reaches(self._state.position, self._needed) and self._is_settled()

    def _is_settled(self) -> bool:
        """Say whether the next micro-batch was known before the newest, which are tested on."""
        learn, position = self._state.terms.learn, self._state.position
        if not self._by_time:
            return True
        settles, newest = self._looked.settled(self._reader, position, learn.batch)
        if settles is None or newest is None:
            return False
        return settles <= newest - learn.test_length

    def by_labels(self) -> str | None:
        """Say whether so many examples have come, and there is enough for a round."""
        wanted = self._when.labels
        if not wanted or not self._reaches(self._begin, wanted) or not self._can_learn():
            return None
        return f"{self._new} new labels"

    def by_what_is_served(self, stop: Event | None) -> str | None:
        """Say whether it is worse than it was, or what it is served for has moved."""
        if self._new < self._needed or not self._is_settled():
            return None
        return _worse(self._state, self._reader) or _moved(self._reader.conn, self._state, stop)

    @property
    def _new(self) -> int:
        return self._looked.count(self._reader, self._begin, self._most)

    def _reaches(self, position: Position, wanted: int) -> bool:
        counts = (self._looked.count, self._looked.count_anew)
        return all(count(self._reader, position, self._most) >= wanted for count in counts)


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


def _worse(state: State, reader: Reader) -> str | None:
    """Compare what is served now with what it was when it was tested; chance is left out."""
    limit, name = state.terms.learn.when.quality, state.terms.rules.metric
    before = state.champion.metrics.get(name)
    if limit is None or not isinstance(before, (int, float)):
        return None
    now = served_quality(state, reader)
    if now is None or not now.known:
        return None
    better = metric_of(name, state.terms.target).better
    loss = -better * ((now.high if better > 0 else now.low) - before)
    told = f"{name} of what is served is {now.estimate:.4g}, it was {before:.4g} when tested"
    return told if loss > limit else None


def served_quality(state: State, reader: Reader) -> Interval | None:
    """Return the metric of the champion's scores of the newest examples that it has not learnt.

    Where the newest time is tested on, these are the ones taken after all that was learnt.
    """
    block = _unlearnt(reader, state)
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
    return reader.recent_tests(1.0 if share is None else share, since, NEWEST)
