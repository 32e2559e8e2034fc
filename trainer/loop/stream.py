"""Examples read in runs of parts, ahead of who learns them: the server seldom waits to be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from psycopg import RawCursor
from psycopg.errors import ArraySubscriptError

from rescore.trainer.database import Connection
from rescore.trainer.loop.block import Position, Sent
from rescore.trainer.loop.packed import incomplete, unpacked_fields

Row = tuple[bool, bytes | None, bytes | None]
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
    most: parts of a run.
    """

    def __init__(
        self,
        conn: Connection,
        statement: Callable[[int, int, bool], str],
        position: Position,
        size: int,
        part: int,
        most: int,
    ) -> None:
        self._conn, self._statement = conn, statement
        self._position, self._left = position, size
        self._part, self._most = part, most
        self._whole = True

    def runs(self) -> Iterator[list[Part]]:
        """Yield what each run reads, which may be nothing.

        Where a part is expected to be whole and is not, it is read once more without the rest.
        """
        while self._left:
            size = min(self._left, self._part)
            yield list(self._run(size, min(self._left // size, self._most)))

    def _run(self, size: int, count: int) -> Iterator[Part]:
        for row in self._answer(self._statement(size, count, self._whole)):
            sent = sent_of(row)
            if sent is None:
                self._leave_out()
                return
            if len(sent):
                self._position = sent.end
                yield Part(sent, self._whole)
            self._left = self._left - size if len(sent) == size else 0

    def _answer(self, statement: str) -> list[Row]:
        # As texts: of the same types each time, the statement is planned once.
        place = [str(number) for number in self._position]
        with RawCursor(self._conn) as cursor:
            try:
                return cursor.execute(statement, place, prepare=True, binary=True).fetchall()
            except ArraySubscriptError:  # arrays of different lengths are no array
                return [_NONE]

    def _leave_out(self) -> None:
        """Read no more of what is no example; raise `NotEnoughData` where none was."""
        if not self._whole:
            raise incomplete()
        self._whole = False


_NONE: Row = (False, None, None)


def sent_of(row: Row) -> Sent | None:
    """Return what was selected; None where not all are examples."""
    whole, fields, designs = row
    return Sent(unpacked_fields(fields), designs) if whole else None


def together(runs: Iterable[list[Part]], size: int) -> Iterator[list[Part]]:
    """Yield parts, of so many examples together at the least; the last may be fewer."""
    some: list[Part] = []
    for part in (part for run in runs for part in run):
        some.append(part)
        if sum(len(each.sent) for each in some) >= size:
            yield some
            some = []
    if some:
        yield some


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield what an iterator yields; another thread asks for it, two items ahead.

    With one, the server would wait whenever learning takes longer than reading.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(2))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
