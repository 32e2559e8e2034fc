"""Reading examples: those past a position, older ones to test on, and the newest snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from psycopg import sql

from rescore.trainer.database import Connection, one, query
from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.state import State, like_columns
from rescore.trainer.loop.treatment import weighed

PAGE = 5_000
"""Examples of one query."""
EVER = datetime(1, 1, 2, tzinfo=timezone.utc)


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
    """

    conn: Connection
    model: str
    versions: list[int]
    columns: int
    bound: int
    after: datetime
    labelled: bool
    held_out: float | None

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
        )

    @property
    def salt(self) -> str:
        """What customers are hashed with: the share to test on is of this model alone."""
        return f"learn {self.model}"

    def past(self, position: Position, size: int) -> Block:
        """Return the next examples after a position, so many or all there are."""
        blocks = [self._page(position, min(size, PAGE))]
        while blocks[-1] and (left := size - sum(map(len, blocks))) > 0:
            blocks.append(self._page(blocks[-1].end, min(left, PAGE)))
        return weighed(Block.joined(blocks), self.held_out)

    def _page(self, position: Position, size: int) -> Block:
        return self._block("learn_batch", position, size=size, bound=self.bound)

    def tests(self, position: Position, share: float, since: datetime | None, size: int) -> Block:
        """Return the newest examples up to a position of the customers to test on."""
        given = {"share": share, "since": since or EVER, "size": size}
        block = weighed(self._block("learn_tests", position, **given), self.held_out)
        return block.take(block.weights > 0)

    def recent(self, size: int, *, resolved: bool) -> Block:
        """Return the newest snapshots, only those with a label or all."""
        return self._block("learn_recent", Position(0, 0), size=size, resolved=resolved)

    def skipped(self, begin: Position, end: Position) -> dict[str, int]:
        """Return how many snapshots between two positions are no examples, by reason."""
        given = {"to_xid": end.xid, "to_id": end.id, "versions": self.versions}
        given |= {"model": self.model, **begin._asdict(), "after": self.after}
        given |= {"labelled": self.labelled}
        return dict(self.conn.execute(query("learn_skipped"), given).fetchall())

    def _block(self, name: str, position: Position, **more: Any) -> Block:
        given = {"model": self.model, "versions": self.versions, "after": self.after}
        given |= {"salt": self.salt, **position._asdict(), **more}
        given |= {"labelled": self.labelled, "weigh": self.held_out is not None}
        statement = query(name, **{n: sql.Literal(value) for n, value in given.items()})
        wrapped = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(statement)
        with self.conn.cursor() as cursor, cursor.copy(wrapped) as copy:
            return Block.read(b"".join(copy), self.columns)
