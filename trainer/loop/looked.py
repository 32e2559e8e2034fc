"""What a runner remembers of a model between two looks: nothing is counted at each of them anew."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from rescore.trainer.loop.block import START, Position
from rescore.trainer.loop.reading import Reader


class LastRound(NamedTuple):
    """What a runner remembers of the last round.

    Attributes
    ----------
    line: the version that learning goes on from since.
    read_to: what was resolved after it had not come yet.
    digest: of the definition: by another one it may come to something.
    idle: it found too little to learn or to test on, or diverged: so would the next, until more
        comes.
    """

    line: int
    read_to: Position
    digest: str | None
    idle: bool


class Looked:
    """How far a runner has looked behind the position of a model, and what it found there.

    Only what was resolved since is looked at, however much behind the position is no example. What
    it found may since have been treated, corrected or kept out of learning: before a round begins
    it is counted anew.

    Attributes
    ----------
    last: the last round; None before the first, and once the definition has changed.
    """

    def __init__(self) -> None:
        self.last: LastRound | None = None
        self._examples: tuple[Any, ...] = ()
        self.forget()

    def forget(self) -> None:
        """Count anew: a round was done."""
        self._counts: dict[Position, tuple[int, Position]] = {}
        self._settles: datetime | None = None
        self._newest: datetime | None = None
        self._newest_to = START

    def begin(self, reader: Reader, most: int, places: Iterable[Position]) -> None:
        """Begin a look: forget what was found of other examples, or behind other positions."""
        found = (tuple(reader.versions), reader.after, reader.labelled, reader.held_out, most)
        places = set(places)
        if found != self._examples or not set(self._counts) <= places:
            self.forget()
        self._examples = found

    def count(self, reader: Reader, position: Position, most: int) -> int:
        """Return how many examples there are after a position, counted no further than so many."""
        count, read_to = self._counts.get(position, (0, position))
        bound = Position(reader.bound, 0)
        if count < most and read_to < bound:
            count += reader.labels(read_to, most - count)
            self._counts[position] = count, bound
        return count

    def count_anew(self, reader: Reader, position: Position, most: int) -> int:
        """Return the same, whatever was found before."""
        self._counts.pop(position, None)
        return self.count(reader, position, most)

    def settled(
        self, reader: Reader, position: Position, batch: int
    ) -> tuple[datetime | None, datetime | None]:
        """Return when the next micro-batch is known, and the newest moment; see `Reader`."""
        self._settles = self._settles or reader.settles(position, batch)
        newest = reader.newest(max(position, self._newest_to), batch)
        self._newest = max(filter(None, (self._newest, newest)), default=None)
        self._newest_to = Position(reader.bound, 0)
        return self._settles, self._newest
