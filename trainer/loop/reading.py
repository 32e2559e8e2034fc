"""Reading examples: those past a position, older ones to test on, and the newest snapshots."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg import RawCursor, sql
from psycopg.errors import ArraySubscriptError

from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.hashing import below
from rescore.trainer.loop.block import Block, Integers, Position, Sent
from rescore.trainer.loop.packed import incomplete, unpacked_fields
from rescore.trainer.loop.state import State, like_columns
from rescore.trainer.loop.treatment import weighed

PAGE_BYTES = 1_800_000
"""About how much is read at a time: enough that a query costs nothing, little enough for memory
and for the processor's cache."""
EVER = datetime(1, 1, 2, tzinfo=timezone.utc)


PAGES_AHEAD = 2
"""That are read while one is learnt: with one, the server waits whenever learning takes longer."""
_OF_NOTHING = {"xid": 0, "id": 0, "bound": 0, "size": 0, "whole": False}
_PACKED = {"fields": "rescore._joined({}, NULL)", "designs": "rescore._joined({}, NULL)"}
_SENT = {
    "fields": "pg_catalog.string_agg(pg_catalog.record_send({}), '')",
    "designs": "pg_catalog.array_send(pg_catalog.array_agg({}))",
}
T = TypeVar("T")


class Page(NamedTuple):
    """Examples read at a time.

    Attributes
    ----------
    whole: whether all that was resolved between the first and the last are examples.
    """

    block: Block
    whole: bool


@dataclass(frozen=True)
class Reader:
    """What a round may read: all that was resolved when it began, and nothing later.

    Attributes
    ----------
    versions: whose design rows have the line's columns.
    bound: transactions before this one have ended.
    after: snapshots taken at this moment or earlier are passed over.
    labelled: whether they need a label.
    held_out: share of the customers that stands for those treated; None: these are left out.
    packs: whether rows can be read as the server keeps them.
    """

    conn: Connection
    model: str
    versions: list[int]
    columns: int
    bound: int
    after: datetime
    labelled: bool
    held_out: float | None
    packs: bool

    @classmethod
    def of(cls, conn: Connection, state: State) -> Reader:
        """Return a reader of the examples for a line, as of now."""
        contract = state.line.contract
        return cls(
            conn,
            state.model,
            like_columns(conn, state.model, contract),
            len(contract.columns()),
            one(conn, query("learn_bound")),
            state.standing.after or EVER,
            state.terms.target != "segments",
            state.terms.held_out,
            one(conn, query("learn_packs")),
        )

    @property
    def salt(self) -> str:
        """What customers are hashed with: the share to test on is of this model alone."""
        return f"learn {self.model}"

    @property
    def _weighs(self) -> bool:
        return self.held_out is not None

    @property
    def page(self) -> int:
        """Examples of one query."""
        most = PAGE_BYTES // (12 * self.columns + 80)
        # Whole micro-batches, if these are of a thousand: what is left over must be copied.
        return most // 1000 * 1000 or max(most, 100)

    def past(self, position: Position, size: int) -> Block:
        """Return the next examples after a position, so many or all there are."""
        blocks = [page.block for page in self.stream(position, size)]
        return Block.joined(blocks) if blocks else self._block("learn_batch", _OF_NOTHING)

    def stream(self, position: Position, size: int, batch: int = 0) -> Iterator[Page]:
        """Yield the next examples after a position, so many or all there are, page by page.

        While pages are used, the server prepares the next: nobody else may use the connection.

        Parameters
        ----------
        batch: examples that are gathered before they are used.
        """
        most = PAGES_AHEAD + batch // self.page
        with closing(ahead(self._pages(position, size), most)) as pages:
            for sent, whole in pages:
                yield Page(weighed(Block.read(sent, self.columns), self.held_out), whole)

    def _pages(self, position: Position, size: int) -> Iterator[tuple[Sent, bool]]:
        """Yield the same as they are sent: what is done elsewhere, the server need not wait for.

        Where a page is expected to be whole and is not, it is read once more without the rest.
        """
        statement, whole = cache(self._batch), True  # to put one together takes a millisecond
        while size:
            asked = min(size, self.page)
            sent = self._read(statement(asked, whole), position)
            if sent is None and not whole:
                raise incomplete()
            if sent is None:
                whole = False
                continue
            if len(sent):
                yield sent, whole
                position = sent.end
            size = size - asked if len(sent) == asked else 0

    def _batch(self, size: int, whole: bool) -> str:
        place = {"xid": sql.SQL("$1"), "id": sql.SQL("$2")}
        given = {"size": size, "whole": whole, "bound": self.bound, **place}
        return self._page("learn_batch", given, all_are=self._is_example if whole else True)

    def reaches(self, position: Position, size: int) -> bool:
        """Say whether there are so many examples after a position."""
        given = {"size": size, "bound": self.bound, **position._asdict()}
        statement = self._statement("learn_reaches", given)
        return bool(one(self.conn, statement))

    def labels(self, position: Position, most: int) -> int:
        """Return how many examples there are after a position, counted no further than so many."""
        given = {"most": most, "bound": self.bound, **position._asdict()}
        return int(one(self.conn, self._statement("learn_labels", given)))

    def tests(self, position: Position, share: float, since: datetime | None, size: int) -> Block:
        """Return the newest examples up to a position of the customers to test on."""
        given = {"share": below(share), "since": since or EVER, "size": size}
        block = weighed(self._block("learn_tests", given | position._asdict()), self.held_out)
        return block.take(block.weights > 0)

    def recent(self, size: int, *, resolved: bool) -> Block:
        """Return the newest snapshots, only those with a label or all."""
        given = {"size": size, "resolved": resolved}
        return self._block("learn_recent", given, scored=True, unlabelled="NaN")

    def released(self, ids: Integers) -> NDArray[np.bool_]:
        """Say which snapshots somebody let out of quarantine, shape (n,)."""
        found = self.conn.execute(query("learn_released"), (self.model, ids.tolist())).fetchall()
        free: NDArray[np.bool_] = np.isin(ids, np.array([each[0] for each in found], dtype=int))
        return free

    def skipped(self, begin: Position, end: Position, *, whole: bool) -> dict[str, int]:
        """Return how many snapshots between two positions are no examples, by reason.

        Parameters
        ----------
        whole: whether all pages were: then nothing is looked for but who was treated.
        """
        if whole and not self._weighs:
            return {}
        given = {"model": self.model, **begin._asdict(), "to_xid": end.xid, "to_id": end.id}
        given |= {"versions": self.versions, "after": self.after, "labelled": self.labelled}
        return dict(self.conn.execute(query("learn_skipped"), given).fetchall())

    def _block(self, name: str, given: Mapping[str, Any], **how: Any) -> Block:
        sent = self._read(self._page(name, given, **how))
        if sent is None:
            raise incomplete()
        return Block.read(sent, self.columns)

    def _read(self, page: str, after: Position | None = None) -> Sent | None:
        """Return what was selected; None where not all are examples, or they make no matrix."""
        with RawCursor(self.conn) as cursor:
            # As texts: of the same types each time, the statement is planned once.
            place = [str(number) for number in after or ()]
            try:
                row = cursor.execute(page, place, prepare=bool(place), binary=True).fetchone()
            except ArraySubscriptError:  # arrays of different lengths are no array
                return None
        assert row is not None
        whole, fields, designs = row
        return Sent(unpacked_fields(fields), designs) if whole else None

    def _page(
        self,
        name: str,
        given: Mapping[str, Any],
        *,
        all_are: Any = True,
        scored: bool = False,
        unlabelled: str = "0",
    ) -> str:
        """Return the statement for a page of what the statement of that name selects."""
        scores = query("learn_scores") if scored or self._weighs else sql.SQL("")
        how = {"salt": self.salt, "scores": scores, "unlabelled": unlabelled}
        fields = query("learn_fields", **_parts(how))
        ways = _PACKED if self.packs else _SENT
        each = {"fields": fields, "designs": sql.Identifier("s", "design")}
        parts = {name: sql.SQL(way).format(each[name]) for name, way in ways.items()}
        examples = self._statement(name, given)
        given = _parts({"examples": examples, "all_are": all_are, **parts})
        return query("learn_page", **given).as_string(self.conn)

    def _statement(self, name: str, given: Mapping[str, Any]) -> sql.Composed:
        known = {"model": self.model, "salt": self.salt, "versions": self.versions}
        return query(name, **_parts({**known, "is_example": self._is_example, **given}))

    @property
    def _is_example(self) -> sql.Composed:
        terms = {"labelled": self.labelled, "weigh": self._weighs}
        known = {"versions": self.versions, "after": self.after}
        return query("learn_is_example", **_parts({**terms, **known}))


def _parts(given: Mapping[str, Any]) -> dict[str, sql.Composable]:
    return {n: e if isinstance(e, sql.Composable) else sql.Literal(e) for n, e in given.items()}


def ahead(items: Iterator[T], most: int) -> Generator[T, None, None]:
    """Yield what an iterator yields; another thread asks for it, up to so many items ahead."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(most))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
