"""What a piece of work cost the server: processor time, WAL, HOT updates."""

from __future__ import annotations

import os
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import psycopg

from rescore.bench.sites import Site

TICKS = os.sysconf("SC_CLK_TCK")
# Fields 16 and 17 of /proc/PID/stat: time of children that ended, counted from the state.
CHILDREN = slice(13, 15)


class Meter:
    """Counts while its block runs; the work's connections are opened and closed within it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.spent = [0.0] * 4

    def __enter__(self) -> Meter:
        self.spent = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.spent = [after - before for after, before in zip(self._now(), self.spent, strict=True)]

    def per(self, events: int) -> dict[str, float]:
        """Return costs of one event: µs of the server's processors, bytes of WAL, HOT share."""
        cpu, wal, updates, hot = self.spent
        costs = {"server_cpu_us": cpu / events * 1e6, "wal_bytes": wal / events}
        return costs | ({"hot_share": hot / updates} if updates else {})

    def _now(self) -> list[float]:
        _wait_until_alone(self.site)
        with psycopg.connect(self.site.dsn, autocommit=True) as conn:
            row = conn.execute(files("rescore.bench").joinpath("meter.sql").read_bytes()).fetchone()
        assert row is not None
        return [ended_children_seconds(self.site.server.pid), *map(float, row)]


def ended_children_seconds(postmaster: int) -> float:
    """Return processor seconds, user and system, of all backends that have ended."""
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[CHILDREN])) / TICKS


def _wait_until_alone(site: Site) -> None:
    """Wait until earlier sessions have ended and the postmaster has counted their time."""
    with psycopg.connect(site.server.dsn, autocommit=True) as conn:
        while conn.execute(files("rescore.bench").joinpath("others.sql").read_bytes()).fetchone():
            time.sleep(0.01)
    time.sleep(0.05)
