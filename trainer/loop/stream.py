"""Examples read in runs of parts, ahead of who learns them: the server seldom waits to be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple, TypeVar

from psycopg.abc import Buffer
from psycopg.adapt import Loader, Transformer
from psycopg.errors import ArraySubscriptError, OperationalError, error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from rescore.trainer.database import Connection
from rescore.trainer.loop.block import Position, Sent
from rescore.trainer.loop.packed import Bytes, incomplete

Row = tuple[bool, Bytes | None, Bytes | None]
T = TypeVar("T")
_NUMBERS = count(1)
"""Of prepared statements, so that none has another's name."""


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
        self._prepared: dict[str, bytes] = {}

    def runs(self) -> Generator[list[Part], None, None]:
        """Yield what each run reads, which may be nothing; closed, it leaves nothing prepared.

        Where a part is expected to be whole and is not, it is read once more without the rest.
        """
        try:
            while self._left:
                size = min(self._left, self._part)
                yield list(self._run(size, min(self._left // size, self._most)))
        finally:
            self._forget()

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
        """Run a statement by libpq itself.

        A cursor would ask for the interpreter whenever some of the answer has come, and the server
        wait until whoever learns lets go of it.
        """
        place = [str(number).encode() for number in self._position]
        with self._conn.lock:
            if statement not in self._prepared:
                self._prepared[statement] = self._prepare(statement)
            name = self._prepared[statement]
            result = self._conn.pgconn.exec_prepared(name, place, None, Format.BINARY)
        try:
            self._check(result)
        except ArraySubscriptError:  # arrays of different lengths are no array
            return [_NONE]
        return _rows(self._conn, result)

    def _prepare(self, statement: str) -> bytes:
        # To put it together, parse and plan it takes longer than to run it for some thousands.
        name = b"rescore_parts_%d" % next(_NUMBERS)
        self._check(self._conn.pgconn.prepare(name, statement.encode(self._conn.info.encoding)))
        return name

    def _check(self, result: PGresult) -> None:
        if self._conn.broken or self._conn.closed:
            raise OperationalError(result.get_error_message(self._conn.info.encoding))
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise error_from_result(result, self._conn.info.encoding)

    def _forget(self) -> None:
        if not self._conn.closed:
            with self._conn.lock:
                for name in self._prepared.values():
                    self._conn.pgconn.exec_(b"DEALLOCATE " + name)

    def _leave_out(self) -> None:
        """Read no more of what is no example; raise `NotEnoughData` where none was."""
        if not self._whole:
            raise incomplete()
        self._whole = False


_NONE: Row = (False, None, None)


class _Seen(Loader):
    """Gives bytes where they are, in the memory of the answer.

    To copy them takes a tenth of what the server takes for them, and the server waits meanwhile.
    """

    format = Format.BINARY

    def load(self, data: Buffer) -> Buffer:
        """Return the bytes of a value."""
        return data


def _rows(conn: Connection, result: PGresult) -> list[Row]:
    cursor = conn.cursor()
    cursor.adapters.register_loader("bytea", _Seen)
    seen = Transformer(cursor)
    seen.set_pgresult(result)
    return seen.load_rows(0, result.ntuples, _row)


def _row(values: Sequence[Any]) -> Row:
    whole, fields, designs = values
    return whole, fields, designs


def sent_of(row: Row) -> Sent | None:
    """Return what was selected; None where not all are examples."""
    whole, fields, designs = row
    return Sent(fields, designs) if whole else None


def together(runs: Iterable[list[Part]], size: int) -> Iterator[list[Part]]:
    """Yield parts, of so many examples together at the least; the last may be fewer."""
    some: list[Part] = []
    found = 0
    for part in (part for run in runs for part in run):
        some.append(part)
        found += len(part.sent)
        if found >= size:
            yield some
            some, found = [], 0
    if some:
        yield some


def ahead(
    items: Iterator[T], interrupt: Callable[[], object] = lambda: None
) -> Generator[T, None, None]:
    """Yield what an iterator yields; another thread asks for it, two items ahead.

    With one, the server would wait whenever learning takes longer than reading.

    Parameters
    ----------
    interrupt: called on Ctrl-C, to end what the other thread waits for.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(2))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, items, None))
                yield item
        except KeyboardInterrupt:
            thread.shutdown(wait=False, cancel_futures=True)  # or the next would begin
            interrupt()
            raise
        finally:
            thread.shutdown(cancel_futures=True)
