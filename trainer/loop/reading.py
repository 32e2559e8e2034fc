"""Reading examples: those past a position, older ones to test on, and the newest snapshots."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.hashing import below
from rescore.trainer.loop.block import Block, Integers, Position
from rescore.trainer.loop.packed import incomplete, order_of, places
from rescore.trainer.loop.state import State, like_columns
from rescore.trainer.loop.stream import Parts, ahead, sent_of, together
from rescore.trainer.loop.treatment import weighed

PAGE_BYTES = 1_800_000
"""About how much is learnt at a time: enough that a page costs nothing, little enough for memory
and for the processor's cache."""
PARTS = 10
"""Of a page: what the server puts together at a time stays in the cache of its processor, and in
memory that the C library need not ask the kernel for each time."""
PAGES = 2
"""Of one statement: enough that to ask costs nothing, few enough for memory."""
EVER = datetime(1, 1, 2, tzinfo=timezone.utc)
_FOREVER, _LAST = "infinity", Position(2**62, 2**62)
_BY_CUSTOMER = sql.SQL("pg_catalog.hashtextextended(s.key, 0)")
_BY_MOMENT = sql.SQL("s.taken_at DESC, s.key DESC")
_BY_OUTCOME = sql.SQL("s.resolved DESC, s.id DESC")
"""Orders of the newest: customers of rounds at random, or newest first."""
_OF_NOTHING = {"xid": 0, "id": 0, "bound": 0, "size": 0, "whole": False}
_PACKED = {"fields": "rescore._joined({}, NULL)", "designs": "rescore._joined({}, NULL)"}
_SENT = {
    "fields": "pg_catalog.string_agg(pg_catalog.record_send({}), '')",
    "designs": "pg_catalog.array_send(pg_catalog.array_agg({}))",
}


class Page(NamedTuple):
    """Examples read at a time.

    Attributes
    ----------
    whole: whether all that was resolved between the first and the last are examples.
    """

    block: Block
    whole: bool


class Rounds(NamedTuple):
    """The newest rounds of snapshots; all there are where events are logged.

    Attributes
    ----------
    since: later ones are of these rounds.
    until: of these, those up to this moment; None for all.
    mixed: whether they are rounds: these log many customers at a time.
    """

    since: datetime = EVER
    until: datetime | None = None
    mixed: bool = False


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
    packs: whether rows are read as the server keeps them, where they can be.
    """

    conn: Connection
    model: str
    versions: list[int]
    columns: int
    bound: int
    after: datetime
    labelled: bool
    held_out: float | None
    packs: bool = True

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

    @cached_property
    def order(self) -> str | None:
        """The server's order of bytes, "<" or ">"; None where rows are not read as it keeps them.

        Asked for when rows are read: who only counts need not know.
        """
        if not self.packs or not one(self.conn, query("learn_packs")):
            return None
        return order_of(one(self.conn, query("learn_order")))

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

    def stream(self, position: Position, size: int) -> Generator[Page, None, None]:
        """Yield the next examples after a position, so many or all there are, page by page.

        While pages are used, the server prepares the next.
        """
        # To put one together takes a millisecond.
        statement = cache(partial(self._parts, self.order))
        parts = Parts(self.conn, statement, position, size, self.page // PARTS, PARTS * PAGES)
        interrupt = self.conn.cancel  # or Ctrl-C would wait for as long as the server does
        with closing(parts.runs()) as runs, closing(ahead(runs, interrupt)) as found:
            for some in together(found, self.page):
                block = Block.read([part.sent for part in some], self.columns)
                yield Page(weighed(block, self.held_out), all(part.whole for part in some))

    def _parts(self, order: str | None, size: int, count: int, whole: bool) -> str:
        """Return the statement that reads so many parts of so many examples."""
        place = {
            name: query("learn_place", told=sql.SQL(f"${n}"), field=sql.Literal(n))
            for n, name in enumerate(("xid", "id"), 1)
        }
        given = {"size": size, "whole": whole, "bound": self.bound, **place}
        page = self._page("learn_batch", given, all_are=self._is_example if whole else True)
        where = places(order, scored=self._weighs)
        told = _parts({"parts": count, "page": page, **where})
        return query("learn_stream", **told).as_string(self.conn)

    def reaches(self, position: Position, size: int) -> bool:
        """Say whether there are so many examples after a position."""
        given = {"size": size, "bound": self.bound, **position._asdict()}
        statement = self._statement("learn_reaches", given)
        return bool(one(self.conn, statement))

    def labels(self, position: Position, most: int) -> int:
        """Return how many examples there are after a position, counted no further than so many."""
        given = {"most": most, "bound": self.bound, **position._asdict()}
        return int(one(self.conn, self._statement("learn_labels", given)))

    def settles(self, position: Position, batch: int) -> datetime | None:
        """Return when the outcomes of the next micro-batch are known; None where none is full."""
        return self._moment("learn_settles", position, batch)

    def newest(self, position: Position, batch: int) -> datetime | None:
        """Return the newest moment of the last examples after a position; None where none is."""
        return self._moment("learn_newest", position, batch)

    def _moment(self, name: str, position: Position, batch: int) -> datetime | None:
        given = {"batch": batch, "bound": self.bound, **position._asdict()}
        found: datetime | None = one(self.conn, self._statement(name, given))
        return found

    def tests(self, position: Position, share: float, since: datetime | None, size: int) -> Block:
        """Return the newest examples up to a position of the customers to test on."""
        return self._tests(position, share, since, Rounds(), size)

    def recent_tests(self, share: float, since: datetime | None, size: int) -> Block:
        """Return about so many of the newest examples of the customers to test on: of whole rounds.

        Of a round that has more, those of the customers who come first by their hashes.
        """
        rounds = self.rounds(round(size / share), resolved=True)
        later = rounds.since + timedelta(microseconds=1)
        return self._tests(_LAST, share, max(later, since or later), rounds, size)

    def _tests(
        self, position: Position, share: float, since: datetime | None, rounds: Rounds, size: int
    ) -> Block:
        given = {"share": below(share), "since": since or EVER, "until": rounds.until or _FOREVER}
        order = _BY_CUSTOMER if rounds.mixed else _BY_OUTCOME
        given |= {"size": size, "order": order, **position._asdict()}
        block = weighed(self._block("learn_tests", given), self.held_out)
        return block.take(block.weights > 0)

    def recent(self, size: int, *, resolved: bool) -> Block:
        """Return the newest snapshots, only those with a label or all: of whole rounds.

        Of a round they may be logged by key: the last of one are those with the greatest keys,
        which are often the newest customers, and like nobody else.

        Parameters
        ----------
        size: how many at most; of a round that has more, those of the customers who come first
            by a hash.
        """
        rounds = self.rounds(size, resolved=resolved)
        given = {"resolved": resolved, "size": size, "since": rounds.since}
        given |= {"until": rounds.until or _FOREVER}
        given |= {"order": _BY_CUSTOMER if rounds.mixed else _BY_MOMENT}
        return self._block("learn_recent", given, scored=True, unlabelled="NaN")

    @cached_property
    def every(self) -> float | None:
        """Seconds from one round of snapshots to the next; None where there are none."""
        found: float | None = one(self.conn, query("learn_every"), (self.model,))
        return found

    def rounds(self, size: int, *, resolved: bool) -> Rounds:
        """Return the newest whole rounds of snapshots that hold so many or fewer, or the newest."""
        if self.every is None:
            return Rounds()
        given = {"every": self.every, "size": size, "resolved": resolved}
        found = self.conn.execute(self._statement("learn_round", given)).fetchone()
        until, since = found or (None, None)
        return Rounds(since or EVER, until or EVER, mixed=True)

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
        page = self._page(name, given, **how)
        with self.conn.cursor(binary=True) as cursor:
            row = cursor.execute(page).fetchone()
        assert row is not None
        sent = sent_of(row)
        if sent is None:
            raise incomplete()
        return Block.read([sent], self.columns)

    def _page(
        self,
        name: str,
        given: Mapping[str, Any],
        *,
        all_are: Any = True,
        scored: bool = False,
        unlabelled: str = "0",
    ) -> sql.Composed:
        """Return the statement for a page of what the statement of that name selects."""
        scores = query("learn_scores") if scored or self._weighs else sql.SQL("")
        how = {"salt": self.salt, "scores": scores, "unlabelled": unlabelled}
        fields = query("learn_fields", **_parts(how))
        ways = _SENT if self.order is None else _PACKED
        each = {"fields": fields, "designs": sql.Identifier("s", "design")}
        parts = {name: sql.SQL(way).format(each[name]) for name, way in ways.items()}
        examples = self._statement(name, given)
        given = _parts({"examples": examples, "all_are": all_are, **parts})
        return query("learn_page", **given)

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
