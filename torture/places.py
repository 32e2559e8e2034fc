"""Where scenarios work: private servers of their own, and databases on them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.errors import NoServer
from rescore.server.libraries import python_path
from rescore.server.lock import numbered_home
from rescore.server.private import Server, remove, start, status
from rescore.sql.install import install
from rescore.torture.shop import open_shop

SUPERUSER, ORDINARY = "rescore", "torture_owner"
INSTALLED, SHOP = "torture_installed", "torture_shop"
RESTART_SECONDS = 60


@dataclass
class Place:
    """A private server that scenarios may kill, and databases cloned on it.

    Attributes
    ----------
    home: its directory.
    server: as it runs now; another one after :func:`Place.restart`.
    role: who installs, applies and writes.
    """

    home: Path
    server: Server
    role: str
    _numbers: Iterator[int] = field(default_factory=count)

    def dsn(self, database: str) -> str:
        """Return the role's connection string for a database."""
        return make_conninfo(self.server.dsn, dbname=database, user=self.role)

    def superuser_dsn(self, database: str) -> str:
        """Return the superuser's."""
        return make_conninfo(self.server.dsn, dbname=database)

    def shop(self) -> str:
        """Make a database with the shop, open; return its name."""
        return self.database(SHOP)

    def database(self, template: str = "template0") -> str:
        """Make a database, empty unless another template is given; return its name."""
        name = f"torture_{next(self._numbers)}"
        self.create(name, template)
        return name

    def create(self, name: str, template: str) -> None:
        """Make a database of this name, the role's."""
        names = map(sql.Identifier, (name, template, self.role))
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names)
        with psycopg.connect(self.server.dsn, autocommit=True) as conn:
            conn.execute(statement)

    def kill(self, *, everything: bool = True) -> None:
        """Send SIGKILL to the postmaster and, with ``everything``, to all its processes at once."""
        victims = [*(children(self.server.pid) if everything else []), self.server.pid]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Dead only when the kernel has come to it; until then it would seem to run.
        while status(self.home):
            time.sleep(0.01)

    def restart(self) -> None:
        """Start the server that was killed; orphans of the old one may hold its memory a while."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                self.server = start(self.home, tuning="torture")
                return
            except NoServer:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold blanks; the parent's number is the second after it.
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(entry.parent.name))
    return found


@contextmanager
def own_home(name: str) -> Iterator[Path]:
    """The first home of this name no other run is using; what a killed run left is removed."""
    with numbered_home(name) as home:
        remove(home)
        try:
            yield home
        finally:
            remove(home)


@contextmanager
def place(*, python: bool = True) -> Iterator[Place]:
    """A private server with two templates: rescore installed, and the shop opened in it.

    Parameters
    ----------
    python: install as a superuser, with PL/Python; else as an ordinary role, which is faster,
        since no backend then imports scikit-learn to publish.
    """
    with own_home("torture") as home:
        server = start(home, tuning="torture")
        made = Place(home, server, SUPERUSER if python else ORDINARY)
        with psycopg.connect(server.dsn, autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(sql.Identifier(ORDINARY))
            )
        made.create(INSTALLED, "template0")
        install(made.dsn(INSTALLED), python_path=python_path() if python else None)
        made.create(SHOP, INSTALLED)
        with psycopg.connect(made.dsn(SHOP), autocommit=True) as conn:
            open_shop(conn)
        yield made
