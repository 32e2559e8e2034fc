"""Reading examples: those past a position, older ones to test on, and the newest snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import ArraySubscriptError

from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.hashing import below
from rescore.trainer.loop.block import Block, Integers, Position
from rescore.trainer.loop.packed import incomplete
from rescore.trainer.loop.state import State, like_columns
from rescore.trainer.loop.treatment import weighed

PAGE_BYTES = 4_000_000
"""About how much is read at a time: enough that a query costs nothing, little enough for memory."""
MOST_OF_PAGE = 10_000
"""Examples: of more, columns that grow no longer fit into the cache of the server's processor."""
EVER = datetime(1, 1, 2, tzinfo=timezone.utc)


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
    packs: whether arrays can be read as the server keeps them.
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
        return min(max(PAGE_BYTES // (12 * self.columns + 80), 100), MOST_OF_PAGE)

    def past(self, position: Position, size: int) -> Block:
        """Return the next examples after a position, so many or all there are."""
        blocks = [page.block for page in self.stream(position, size)]
        return Block.joined(blocks) if blocks else self._page(position, 0, whole=False).block

    def stream(self, position: Position, size: int) -> Iterator[Page]:
        """Yield the next examples after a position, so many or all there are, page by page.

        While a page is used, the server prepares the next: nobody else may use the connection.
        """
        with ThreadPoolExecutor(1) as ahead:
            left = size
            coming = ahead.submit(self._page, position, min(left, self.page), whole=True)
            while left:
                asked, (block, whole) = min(left, self.page), coming.result()
                left = left - asked if len(block) == asked else 0
                if left:
                    asking = block.end, min(left, self.page)
                    coming = ahead.submit(self._page, *asking, whole=whole)
                if len(block):
                    yield Page(weighed(block, self.held_out), whole)

    def reaches(self, position: Position, size: int) -> bool:
        """Say whether there are so many examples after a position."""
        statement = self._statement("learn_reaches", position, size=size, bound=self.bound)
        return bool(one(self.conn, statement))

    def _page(self, position: Position, size: int, *, whole: bool) -> Page:
        """Read a page; where it is expected to be whole and is not, once more without the rest."""
        given = {"size": size, "bound": self.bound}
        if whole:
            found = self._found("learn_batch", position, whole=True, **given)
            if found is not None:
                return Page(found, True)
        return Page(self._block("learn_batch", position, whole=False, **given), False)

    def tests(self, position: Position, share: float, since: datetime | None, size: int) -> Block:
        """Return the newest examples up to a position of the customers to test on."""
        given = {"share": below(share), "since": since or EVER, "size": size}
        block = weighed(self._block("learn_tests", position, **given), self.held_out)
        return block.take(block.weights > 0)

    def recent(self, size: int, *, resolved: bool) -> Block:
        """Return the newest snapshots, only those with a label or all."""
        asked = self._statement("learn_recent", Position(0, 0), size=size, resolved=resolved)
        return _complete(self._read(asked, scored=True))

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

    def _block(self, name: str, position: Position, **more: Any) -> Block:
        return _complete(self._found(name, position, **more))

    def _found(self, name: str, position: Position, **more: Any) -> Block | None:
        return self._read(self._statement(name, position, **more), scored=self._weighs)

    def _read(self, examples: sql.Composed, *, scored: bool) -> Block | None:
        """Return what was selected; None where not all are examples, or they make no block."""
        name = ("rescore", "_packed") if self.packs else ("pg_catalog", "array_send")
        given = {"salt": sql.Literal(self.salt), "scored": sql.Literal(scored)}
        page = query("learn_page", examples=examples, packed=sql.Identifier(*name), **given)
        with self.conn.cursor(binary=True) as cursor:
            try:
                row = cursor.execute(page).fetchone()
            except ArraySubscriptError:  # design rows of different lengths are no array
                return None
        assert row is not None
        whole, *columns = row
        return Block.read(columns, self.columns) if whole else None

    def _statement(self, name: str, position: Position, **more: Any) -> sql.Composed:
        given = {"model": self.model, "versions": self.versions, "after": self.after}
        given |= {"salt": self.salt, **position._asdict(), **more}
        given |= {"labelled": self.labelled, "weigh": self._weighs}
        return query(name, **{n: sql.Literal(value) for n, value in given.items()})


def _complete(found: Block | None) -> Block:
    if found is None:
        raise incomplete()
    return found
