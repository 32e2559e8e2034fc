"""Examples read part after part, ahead of who learns them: the server waits for no question."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from psycopg import RawCursor
from psycopg.errors import ArraySubscriptError

from rescore.trainer.database import Connection
from rescore.trainer.loop.block import Position, Sent
from rescore.trainer.loop.packed import incomplete, unpacked_fields

RUNS_AHEAD = 2
"""Of these one is read while one is learnt: with one, the server waits for the end of each."""
T = TypeVar("T")


class Part(NamedTuple):
    """Examples that the server put together at a time.

    Attributes
    ----------
    whole: whether all that was resolved between the first and the last are examples.
    """

    sent: Sent
    whole: bool


class Parts:
    """Reads the examples behind a position, in runs: statements that answer with several parts.

    Parameters
    ----------
    statement: makes the text of one that reads this many examples a part, this many parts, and
        what is no example with them or not; its parameters are the position.
    position: after which to begin.
    size: examples to read.
    part: examples of a part.
    parts: of a run, at the most.
    """

    def __init__(
        self,
        conn: Connection,
        statement: Callable[[int, int, bool], str],
        position: Position,
        size: int,
        part: int,
        parts: int,
    ) -> None:
        self._conn, self._statement = conn, statement
        self._position, self._left = position, size
        self._part, self._parts = part, parts
        self._whole = True

    def runs(self) -> Iterator[Iterator[Part]]:
        """Yield runs, each to be gone through before the next.

        Where a part is expected to be whole and is not, it is read once more without the rest.
        """
        while self._left:
            size = min(self._left, self._part)
            yield self._run(size, min(self._left // size, self._parts))

    def _run(self, size: int, count: int) -> Iterator[Part]:
        statement = self._statement(size, count, self._whole)
        with closing(_sent(self._conn, statement, self._position)) as parts:
            for sent in parts:
                if sent is None:
                    self._only_examples()
                    return
                if len(sent):
                    self._position = sent.end
                    yield Part(sent, self._whole)
                self._left = self._left - size if len(sent) == size else 0

    def _only_examples(self) -> None:
        """Have what is no example left out from now on; raise `NotEnoughData` where it was."""
        if not self._whole:
            raise incomplete()
        self._whole = False


def _sent(
    conn: Connection, statement: str, position: Position
) -> Generator[Sent | None, None, None]:
    """Yield parts; None for one where not all are examples, or they make no matrix."""
    place = [str(number) for number in position]
    with RawCursor(conn) as cursor:
        try:
            for row in cursor.stream(statement, place, binary=True):
                yield sent_of(row)
        except ArraySubscriptError:  # arrays of different lengths are no array
            yield None


def sent_of(row: tuple[bool, bytes | None, bytes | None]) -> Sent | None:
    """Return what was selected; None where not all are examples."""
    whole, fields, designs = row
    return Sent(unpacked_fields(fields), designs) if whole else None


def together(parts: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Yield parts, of so many examples together at the least; the last may be fewer."""
    some: list[Part] = []
    for part in parts:
        some.append(part)
        if sum(len(each.sent) for each in some) >= size:
            yield some
            some = []
    if some:
        yield some


def ahead(runs: Iterator[Iterable[T]], most: int) -> Generator[T, None, None]:
    """Yield what each run yields; another thread goes through them, up to so many runs ahead.

    It does not stop within a run, so that what a run uses is free whenever somebody waits for it.
    """
    found: SimpleQueue[T | None] = SimpleQueue()

    def read() -> bool:
        try:
            run = next(runs, None)
            for item in run or ():
                found.put(item)
            return run is not None
        finally:
            found.put(None)

    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(read) for _ in range(most))
        try:
            while coming:
                while (item := found.get()) is not None:
                    yield item
                if coming.popleft().result():
                    coming.append(thread.submit(read))
        finally:
            thread.shutdown(cancel_futures=True)
