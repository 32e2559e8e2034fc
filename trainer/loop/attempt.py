"""One round of learning, up to its decision: everything but what is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime, timezone
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.failing import go_on
from rescore.trainer.learning.calibration import Platt, calibrated, fit_platt
from rescore.trainer.learning.checks import Check, sanity
from rescore.trainer.learning.gate import Decision, PairedScores, gate
from rescore.trainer.learning.hashing import among, distinct, groups
from rescore.trainer.learning.histogram import GROUPS, ScoreHistogram
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory
from rescore.trainer.learning.prequential import Prequential, gives_probabilities
from rescore.trainer.learning.target import measured, threshold_of, typed
from rescore.trainer.loop.block import Block
from rescore.trainer.loop.guard import Guard
from rescore.trainer.loop.kept import Learnt, Newest
from rescore.trainer.loop.pieces import Piece, pieces, runs
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import State

DAY = 86_400.0
FEWEST_TO_CALIBRATE = 30
OLDER_TESTS = 20_000
MOST_TESTS = 50_000
"""Examples to test on, the newest; more only where these have not the customers that are asked, or
are of one round of snapshots: then up to twice as many."""
MOST_TO_REFER = 20_000
"""Examples by whose distribution drift is told, the newest."""


class Attempt:
    """Learns from examples, micro-batch by micro-batch, and judges what comes of it.

    Attributes
    ----------
    position: the last example that was learnt, or passed over for good.
    whole: whether all that was resolved, as far as it was read, are examples.
    suspects: ids of snapshots to be quarantined, each with its reason.
    spoken_for: examples not learnt since the holdout stands for them.
    """

    def __init__(self, state: State, reader: Reader, stop: Event | None = None) -> None:
        self._stop = stop or Event()
        learner = Learner.resume(state.line.estimator, state.terms.method, state.standing.memory)
        self.state, self.reader = state, reader
        self.target = state.terms.target
        self.loop = Prequential(learner, state.champion.estimator, self.target)
        self.names = tuple(state.line.contract.columns())
        suspect, numbers = state.terms.learn.suspect_share, self.target == "number"
        self.guard = Guard(state.line.reference, self.names, numbers, suspect, reader.released)
        self.position = self.read_to = state.position
        self.whole = True
        self.suspects: dict[int, str] = {}
        self.spoken_for = 0
        self._waiting: deque[Piece] = deque()
        self._learnt = Learnt(Newest(MOST_TO_REFER, every=reader.every))
        self._tests = Newest(MOST_TESTS, self._enough, reader.every)
        self._latest = state.standing.latest
        self._known_before = _seconds(state.standing.known)

    def take(self, size: int, *, exactly: bool) -> bool:
        """Read examples and learn those that may be; return whether there were any.

        Parameters
        ----------
        size: so many examples; fewer, in full micro-batches, unless ``exactly``.

        Raises
        ------
        Stopped: it was told to, between two micro-batches.
        """
        before = self.read_to
        if exactly and not self.reader.reaches(before, size):
            return False
        with closing(self._batches(size)) as found:  # pages are read ahead, by another thread
            for block in found:
                self._waiting.extend(self._pieces(block))
                self.read_to = self._waiting[-1].end
                self._learn()
        return self.read_to != before

    def _batches(self, size: int) -> Generator[Block, None, None]:
        """Yield micro-batches as they are read; the last may be short where all were there."""
        batch = self.state.terms.learn.batch
        pages: list[Block] = []
        for page, is_whole in self.reader.stream(self.read_to, size):
            pages, size = [*pages, page], size - len(page)
            self.whole = self.whole and is_whole
            found = sum(map(len, pages))
            whole = found // batch * batch if size else found
            if whole:
                block = Block.joined(pages)
                yield block.take(slice(0, whole))
                pages = [block.take(slice(whole, None))] if whole < found else []

    def _pieces(self, block: Block) -> Iterator[Piece]:
        size = self.state.terms.learn.batch
        suspects = self.guard.suspects_of_batches(block, size)
        kept = block.weights > 0
        kept[list(suspects)] = False
        if not self._by_time:
            tested = among(block.hashes, self.state.terms.learn.test_share or 0)
            self._tests.add(block.take(kept & tested & (block.taken >= self._known_before)))
            kept &= ~tested
        return pieces(block, size, kept, suspects, self.target)

    def _learn(self) -> None:
        """Learn what is not kept for testing, in order."""
        limit = self._since() if self._by_time else np.inf
        learnt = []
        while self._waiting and self._waiting[0].due <= limit:
            go_on(self._stop)
            piece = self._waiting.popleft()
            self.spoken_for += piece.spoken_for
            if len(piece.batch):
                self._step(piece)
                learnt.append(piece)
            self.suspects |= piece.suspects
            self.position = piece.end
        for block in runs(learnt):
            self._learnt.add(block)

    def _step(self, piece: Piece) -> None:
        before = piece.newest if self._latest is None else self._latest
        self.loop.step(piece.batch, max(piece.newest - before, 0.0) / DAY)
        self._latest = max(piece.newest, before)

    @property
    def _by_time(self) -> bool:
        return self.state.terms.learn.test_share is None

    def _since(self) -> float:
        """Return the moment from which on examples are tested on, not learnt."""
        newest = max((piece.newest for piece in self._waiting), default=-np.inf)
        return newest - self.state.terms.learn.test_length.total_seconds()

    @property
    def learnt(self) -> Learnt | None:
        """What was learnt; None for nothing."""
        return self._learnt if self._learnt.examples else None

    @property
    def latest(self) -> float | None:
        """The newest moment learnt, ever, in seconds since 1970."""
        return self._latest

    def tests(self) -> Block:
        """Return what to test on: this round's, and older ones until there are enough."""
        if self._by_time:
            floor = max(self._since(), self._known_before, self._learnt.known)
            pieces = [piece.kept for piece in self._waiting]
            block = Block.joined(pieces) if pieces else self.reader.past(self.read_to, 0)
            return block.take(block.taken >= floor)
        block = self._tests.block
        return block if self._enough(block) else self._with_older(block)

    def _with_older(self, block: Block) -> Block:
        share, known = self.state.terms.learn.test_share or 0.0, self.state.standing.known
        older = self.reader.tests(self.state.position, share, known, OLDER_TESTS)
        sizes = (500 * 4**n for n in range(10))
        for size in sizes:
            joined = Block.joined([older.take(slice(0, size)), block])
            if self._enough(joined) or size >= len(older):
                break
        return joined

    def _enough(self, block: Block) -> bool:
        rules = self.state.terms.rules
        customers = distinct(block.hashes)
        if self.target != "outcome":
            return bool(customers >= rules.customers)
        found = [distinct(block.hashes[block.labels == label]) for label in (0, 1)]
        return (
            customers >= rules.customers
            and found[0] >= rules.negatives
            and found[1] >= rules.positives
        )

    def version(self) -> tuple[Any, Memory]:
        """Return the candidate's artefact, and what its learner remembers."""
        return self.loop.learner.version(self._platt())

    def _platt(self) -> Platt | None:
        """Return the calibration: of this round, or where that is small the one before."""
        if not self.state.terms.calibrate:
            return None
        found, fewest = self.loop.tested.histogram, 0.0
        if isinstance(found, ScoreHistogram):
            fewest = min(found.positives, found.weight - found.positives)
        before = self.loop.learner.memory.calibration
        return self.loop.platt() if fewest >= FEWEST_TO_CALIBRATE else before

    def judge(self, artefact: Any) -> Decision:
        """Compare a candidate with the champion on examples that neither has learnt."""
        go_on(self._stop)
        tests = self.tests()
        if self.state.terms.calibrate and not gives_probabilities(artefact):
            return Decision("wait", (self._too_few_to_calibrate(),), {}, {})
        champion = self._champion(tests, artefact)
        probability = gives_probabilities(artefact) and gives_probabilities(champion)
        pairs = PairedScores(
            typed(tests.labels, self.target),
            tests.hashes,
            measured(artefact, tests.design, self.target),
            measured(champion, tests.design, self.target),
            probability,
            tests.weights,
            self._segments(tests),
            self.target,
            (threshold_of(artefact), threshold_of(champion)),
        )
        found = sanity(artefact, champion, tests.design, self.state.terms.limits)
        return gate(pairs, self.state.terms.rules, found)

    def _champion(self, tests: Block, artefact: Any) -> Any:
        """Return what a candidate is compared with: the champion, on the candidate's scale.

        One that gives margins cannot be held against probabilities: it is given the calibration
        that suits it best on the very examples that are tested on, which is in its favour.
        """
        champion = self.state.champion.estimator
        if gives_probabilities(champion) or not gives_probabilities(artefact):
            return champion
        return calibrated(champion, self._in_hindsight(tests))

    def _in_hindsight(self, tests: Block) -> Platt:
        if len(set(tests.labels.tolist())) < 2:  # then there are too few to decide by
            return Platt(1.0, 0.0)
        margins = measured(self.state.champion.estimator, tests.design, self.target)
        histogram = ScoreHistogram.like(margins, probability=False)
        members, labels = groups(tests.hashes, GROUPS), typed(tests.labels, self.target)
        histogram.add(margins, labels, members, tests.weights)
        return fit_platt(histogram)

    def _too_few_to_calibrate(self) -> Check:
        found = self.loop.tested.histogram
        positives = found.positives if isinstance(found, ScoreHistogram) else 0.0
        negatives = found.weight - positives if isinstance(found, ScoreHistogram) else 0.0
        text = (
            f"{positives:.0f} examples with the outcome and {negatives:.0f} without to calibrate "
            f"on; {FEWEST_TO_CALIBRATE} of each are needed"
        )
        numbers = {"positives": positives, "negatives": negatives, "needed": FEWEST_TO_CALIBRATE}
        return Check("calibration", False, text, numbers)

    def _segments(self, tests: Block) -> dict[str, NDArray[np.bool_]]:
        named = tuple(f"{name}=" for name in self.state.terms.learn.segments)
        found = {
            name: tests.design[:, n] == 1
            for n, name in enumerate(self.names)
            if named and name.startswith(named)
        }
        return {**found, "holdout": tests.holdout} if tests.holdout.any() else found


def moment(seconds: float) -> datetime:
    """Return the moment so many seconds after the beginning of 1970."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def _seconds(at: datetime | None) -> float:
    return -np.inf if at is None else at.timestamp()
