"""What every work is given: the server, how much to do, until when, and where its numbers go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import Site
from rescore.server.private import Server


@dataclass
class Context:
    """One run of the bench.

    Attributes
    ----------
    server: the private server.
    scale: sizes and durations.
    deadline: of the work that runs, by ``time.monotonic()``; it only keeps turns from beginning.
    samples: what was measured so far.
    """

    server: Server
    scale: Scale
    deadline: float = float("inf")
    samples: Samples = field(default_factory=Samples)
    _built: dict[Site, Site] = field(default_factory=dict)

    def site(self, contender: str, features: int = 8, **numbers: int) -> Site:
        """Return a contender that is not built yet.

        Parameters
        ----------
        numbers: ``models``, ``profiles``, ``categories``; the scale's profiles if not said.
        """
        numbers = {"profiles": self.scale.profiles} | numbers
        return Site(contender, self.server, features, **numbers)

    def built(self, site: Site) -> Site:
        """Build the contender's database unless an earlier work did; return the site."""
        if site not in self._built:
            self._built[site] = site.build()
        return self._built[site]

    def is_built(self, site: Site) -> bool:
        """Whether an earlier work built this contender's database."""
        return site in self._built

    def drop(self, site: Site) -> None:
        """Remove a contender's database that no later work needs."""
        self._built.pop(site).drop()

    def turns(self) -> Iterator[int]:
        """Yield numbers of turns, at least one, while the next still ends before the deadline."""
        began = time.monotonic()
        for turn in range(self.scale.rounds):
            yield turn
            now = time.monotonic()
            if now + (now - began) / (turn + 1) > self.deadline:
                return

    def add(
        self, work: str, contender: str, measures: dict[str, float], baseline: str, **where: Any
    ) -> None:
        """Keep one turn's numbers, with the conditions they were measured under."""
        self.samples.add(work, contender, measures, baseline=baseline, **where)
