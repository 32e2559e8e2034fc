"""Clients that write at random, and keep a book of what was confirmed to them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from rescore.torture.book import Book
from rescore.torture.queries import query
from rescore.torture.shop import CUSTOMERS

Connection = psycopg.Connection[Any]
# Statements of one transaction, each with its values.
Statements = Sequence[tuple[bytes, dict[str, Any]]]
LEVELS = ("read committed", "repeatable read", "serializable")
MOST_ROWS = 12


@dataclass
class Client:
    """One client: single statements at random, each its own transaction.

    Attributes
    ----------
    dsn: asked for anew before each connection: a server that was killed may come back elsewhere.
    seed: of its random choices; also what sets its numbers apart from other clients'.
    level: isolation level; above READ COMMITTED, 40001 is retried and nothing else is.
    survives: whether it expects to lose its connection, or to be cancelled, and then goes on.
    pooled: whether a pooler is in between, which knows no prepared statements.
    rest: asked before each statement for how many seconds to do nothing.
    several: whether it also writes transactions of several statements, over hot customers in any
        order: only events that are queued promise that these do not deadlock.
    """

    dsn: Callable[[], str]
    seed: int
    level: str = "read committed"
    survives: bool = False
    pooled: bool = False
    several: bool = False
    rest: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.book = Book(first=(self.seed + 1) * 10_000_000)
        self._orders: list[int] = []
        self._random = random.Random(self.seed)

    def __call__(self, stop: threading.Event) -> Book:
        """Write until stopped."""
        while not stop.is_set():
            try:
                with self._connect() as conn:
                    # A cancelled ROLLBACK leaves a transaction behind: then another connection.
                    while not stop.wait(self.rest()) and _is_idle(conn):
                        self.act(conn)
            except psycopg.OperationalError as error:
                if not self.survives:
                    self.book.errors.append(_said(error))
                    return self.book
                self.book.done["connections lost"] += 1
                stop.wait(0.05)
        return self.book

    def _connect(self) -> Connection:
        threshold = None if self.pooled else 5
        conn = psycopg.connect(self.dsn(), autocommit=True, prepare_threshold=threshold)
        if self.level != LEVELS[0]:
            _set_level(conn, self.level)
        return conn

    def act(self, conn: Connection) -> None:
        """Do one thing, and note it."""
        what = self._random.choices(
            (
                *(self.insert, self.insert_one, self.complain),
                *(self.change, self.remove, self.roll_back, self.insert_several),
            ),
            (6, 4, 3, 2, 1, 1, 3 if self.several else 0),
        )[0]
        what(conn)

    def insert(self, conn: Connection, rows: int = 0) -> None:
        """Insert orders of several customers, in random order."""
        rows = rows or self._random.randint(2, MOST_ROWS)
        self._insert(conn, rows, "multi-row inserts")

    def insert_one(self, conn: Connection) -> None:
        """Insert one order."""
        self._insert(conn, 1, "single inserts")

    def _insert(self, conn: Connection, rows: int, what: str) -> None:
        given = self._order(rows)
        self._orders.append(given["batch"])
        self._write(conn, [("orders", given)], given["batch"], rows, what)

    def complain(self, conn: Connection) -> None:
        """Insert one complaint, whose triggers are row triggers."""
        given = self._complaint(self.book.number())
        self._write(conn, [("complaint", given)], given["batch"], 1, "single inserts")

    def change(self, conn: Connection) -> None:
        """Move the rows of an earlier statement to another customer."""
        if batch := self._earlier():
            given = {"key": self._key(), "batch": batch}
            self._write(conn, [("change", given)], batch, self.book.rows[batch], "updates")

    def remove(self, conn: Connection) -> None:
        """Delete the rows of an earlier statement."""
        if batch := self._earlier():
            self._write(conn, [("remove", {"batch": batch})], batch, 0, "deletes")

    def roll_back(self, conn: Connection) -> None:
        """Insert orders and take them back."""
        given = self._order(self._random.randint(1, MOST_ROWS))
        self._write(conn, [("orders", given)], given["batch"], 0, "rollbacks", b"ROLLBACK")

    def insert_several(self, conn: Connection) -> None:
        """Insert orders, a complaint and orders, in one transaction."""
        first = self._order(self._random.randint(1, MOST_ROWS))
        second = self._order(self._random.randint(1, MOST_ROWS)) | {"batch": first["batch"]}
        complaint = self._complaint(first["batch"])
        statements = [("orders", first), ("complaint", complaint), ("orders", second)]
        rows = len(first["keys"]) + 1 + len(second["keys"])
        self._write(conn, statements, first["batch"], rows, "transactions of three", b"COMMIT")

    def _write(
        self,
        conn: Connection,
        named: Sequence[tuple[str, dict[str, Any]]],
        batch: int,
        rows: int,
        what: str,
        end: bytes = b"",
    ) -> None:
        before = self.book.rows.get(batch, 0)
        # In doubt until the server has answered: an error that ends the connection leaves it so.
        self.book.rows[batch], self.book.unsure[batch] = rows, {before, rows}
        if self._is_done(conn, [(query("clients", name), given) for name, given in named], end):
            self.book.done[what] += 1
        else:
            self.book.rows[batch] = before
        self.book.unsure.pop(batch)

    def _is_done(self, conn: Connection, statements: Statements, end: bytes) -> bool:
        """Run a transaction, again after 40001; False when it was cancelled or refused."""
        while True:
            try:
                _run(conn, statements, end)
                return True
            except psycopg.errors.SerializationFailure:
                self.book.done["retries of 40001"] += 1
            except psycopg.errors.QueryCanceled as error:
                self.book.done["statements cancelled"] += 1
                self.book.errors += [] if self.survives else [_said(error)]
                return False
            except psycopg.Error as error:
                if conn.closed:
                    raise
                # A deadlock, for one: no single statement should ever see it.
                self.book.errors.append(_said(error))
                return False

    def _order(self, rows: int) -> dict[str, Any]:
        return {
            "keys": [self._key() for _ in range(rows)],
            "amount": self._random.randint(1, 9999) / 100,
            "channel": self._random.choice(["web", "store", "phone", None]),
            "batch": self.book.number(),
        }

    def _complaint(self, batch: int) -> dict[str, Any]:
        severity = self._random.randint(1, 5)
        return {"key": self._key(), "severity": severity, "batch": batch}

    def _key(self) -> int:
        return self._random.randint(1, CUSTOMERS)

    def _earlier(self) -> int | None:
        """A statement whose orders are known to be there."""
        if not self._orders:
            return None
        batch = self._random.choice(self._orders[-200:])
        return batch if self.book.rows.get(batch) and batch not in self.book.unsure else None


def _is_idle(conn: Connection) -> bool:
    return conn.info.transaction_status == TransactionStatus.IDLE


def _set_level(conn: Connection, level: str) -> None:
    conn.execute(b"SELECT set_config('default_transaction_isolation', %s, false)", [level])


def _run(conn: Connection, statements: Statements, end: bytes) -> None:
    """Run statements and end their transaction; one alone, without an end, in its own."""
    if not end:
        conn.execute(*statements[0])
        return
    try:
        conn.execute(b"BEGIN")
        for statement, given in statements:
            conn.execute(statement, given)
        conn.execute(end)
    finally:
        # A ROLLBACK can be cancelled too, and then leaves the transaction open.
        while conn.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        ):
            with suppress(psycopg.errors.QueryCanceled):
                conn.execute(b"ROLLBACK")


def _said(error: psycopg.Error) -> str:
    return f"{error.sqlstate}: {error.diag.message_primary or error}".strip()
