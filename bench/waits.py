"""How many sessions wait for locks, sampled while they work."""

from __future__ import annotations

import statistics
import threading
from importlib.resources import files
from types import TracebackType

import psycopg

from rescore.bench.sites import Site

# Often enough for a turn of a second, seldom enough not to be a contender itself.
INTERVAL = 0.05


class Waits:
    """Samples while its block runs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def mean(self) -> float:
        """Sessions of the site that waited for a lock, in the mean of the samples."""
        return statistics.fmean(self._seen) if self._seen else 0.0

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        text = files("rescore.bench").joinpath("waits.sql").read_bytes()
        with psycopg.connect(self._site.server.dsn, autocommit=True) as conn:
            while not self._over.wait(INTERVAL):
                row = conn.execute(text, [self._site.name]).fetchone()
                self._seen.append(int(row[0]) if row else 0)
