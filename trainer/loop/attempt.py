"""One round of learning, up to its decision: everything but what is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.calibration import Platt
from rescore.trainer.learning.checks import sanity
from rescore.trainer.learning.gate import Decision, PairedScores, gate
from rescore.trainer.learning.hashing import shares
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory
from rescore.trainer.learning.prequential import Prequential, gives_probabilities
from rescore.trainer.learning.target import measured, typed
from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.guard import Guard
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import State

DAY = 86_400.0
FEWEST_TO_CALIBRATE = 30
OLDER_TESTS = 20_000


@dataclass(frozen=True)
class Piece:
    """A micro-batch: what of it can be learnt or tested, what not, and where it ends.

    Attributes
    ----------
    suspects: ids of what is to be quarantined, each with its reason.
    due: when the last of its examples could be resolved, in seconds since 1970.
    spoken_for: untreated examples that the holdout stands for.
    """

    kept: Block
    suspects: dict[int, str]
    end: Position
    due: float
    spoken_for: int


class Attempt:
    """Learns from examples, micro-batch by micro-batch, and judges what comes of it.

    Attributes
    ----------
    position: the last example that was learnt, or passed over for good.
    suspects: ids of snapshots to be quarantined, each with its reason.
    spoken_for: examples not learnt since the holdout stands for them.
    """

    def __init__(self, state: State, reader: Reader) -> None:
        learner = Learner.resume(state.line.estimator, state.terms.method, state.standing.memory)
        self.state, self.reader = state, reader
        self.target = state.terms.target
        self.loop = Prequential(learner, state.champion.estimator, self.target)
        self.names = tuple(state.line.contract.columns())
        suspect = state.terms.learn.suspect_share
        self.guard = Guard(state.line.reference, self.names, suspect)
        self.position = self.read_to = state.position
        self.suspects: dict[int, str] = {}
        self.spoken_for = 0
        self._waiting: list[Piece] = []
        self._learnt: list[Block] = []
        self._kept: list[Block] = []
        self._latest = state.standing.latest

    def take(self, size: int, *, exactly: bool) -> bool:
        """Read examples and learn those that may be; return whether there were any.

        Parameters
        ----------
        size: so many examples; fewer, in full micro-batches, unless ``exactly``.
        """
        batch = self.state.terms.learn.batch
        block = self.reader.past(self.read_to, size)
        whole = len(block) if len(block) == size else 0 if exactly else len(block) // batch * batch
        for start in range(0, whole, batch):
            self._waiting.append(self._piece(block.take(slice(start, min(start + batch, whole)))))
        if whole:
            self.read_to = self._waiting[-1].end
            self._learn()
        return whole > 0

    def _piece(self, block: Block) -> Piece:
        found = self.guard.suspects(block)
        good = block.weights > 0
        good[list(found)] = False
        suspects = {int(block.ids[n]): why for n, why in found.items()}
        others = int(((block.weights == 0) & ~block.treated).sum())
        return Piece(block.take(good), suspects, block.end, float(block.due.max()), others)

    def _learn(self) -> None:
        """Learn what is not kept for testing, in order."""
        limit = self._since() if self._by_time else np.inf
        while self._waiting and self._waiting[0].due <= limit:
            piece = self._waiting.pop(0)
            kept = piece.kept
            self.spoken_for += piece.spoken_for
            learnt = kept if self._by_time else kept.take(~self._tested(kept))
            self._step(learnt)
            self._learnt.append(learnt)
            self._kept.append(kept)
            self.suspects |= piece.suspects
            self.position = piece.end

    def _step(self, block: Block) -> None:
        if not len(block):
            return
        newest = float(block.taken.max())
        elapsed = 0.0 if self._latest is None else max(newest - self._latest, 0.0) / DAY
        self._latest = newest if self._latest is None else max(newest, self._latest)
        batch = Batch(block.design, block.labels, block.hashes, block.weights, self.target)
        self.loop.step(batch, elapsed)

    @property
    def _by_time(self) -> bool:
        return self.state.terms.learn.test_share is None

    def _since(self) -> float:
        """Return the moment from which on examples are tested on, not learnt."""
        kept = [piece.kept for piece in self._waiting if len(piece.kept)]
        newest = max((float(block.taken.max()) for block in kept), default=-np.inf)
        return newest - self.state.terms.learn.test_length.total_seconds()

    def _tested(self, block: Block) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = shares(block.hashes) < (self.state.terms.learn.test_share or 0)
        return found

    @property
    def learnt(self) -> Block | None:
        """The examples learnt; None for none."""
        return Block.joined(self._learnt) if any(map(len, self._learnt)) else None

    @property
    def latest(self) -> float | None:
        """The newest moment learnt, ever, in seconds since 1970."""
        return self._latest

    def tests(self) -> Block:
        """Return what to test on: this round's, and older ones until there are enough."""
        known = self.state.standing.known
        if self._by_time:
            floor = max(self._since(), _seconds(self._known()))
            pieces = [piece.kept for piece in self._waiting]
            block = Block.joined(pieces) if pieces else self.reader.past(self.read_to, 0)
            return block.take(block.taken >= floor)
        block = Block.joined(self._kept)
        block = block.take(self._tested(block) & (block.taken >= _seconds(known)))
        return block if self._enough(block) else self._with_older(block)

    def _known(self) -> datetime | None:
        learnt = self.learnt
        found = [] if learnt is None else [float(learnt.due.max())]
        found += [_seconds(self.state.standing.known)]
        return moment(max(found)) if np.isfinite(max(found)) else None

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
        customers = np.unique(block.hashes).size
        if self.target != "outcome":
            return bool(customers >= rules.customers)
        found = [np.unique(block.hashes[block.labels == label]).size for label in (0, 1)]
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
        tests, champion = self.tests(), self.state.champion.estimator
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
        )
        found = sanity(artefact, champion, tests.design, self.state.terms.limits)
        return gate(pairs, self.state.terms.rules, found)

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
