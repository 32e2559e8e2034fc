"""What a scenario did, and what was lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = 3


@dataclass
class Outcome:
    """What one scenario did how often, and what did not survive it.

    Attributes
    ----------
    scenario: name of the scenario.
    done: what was done → how often (or a measured number).
    lost: one line for each thing that was lost or is wrong; empty is what should be.
    """

    scenario: str
    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, done: Mapping[str, int]) -> None:
        """Count what was done; from any thread."""
        with self._lock:
            self.done.update(done)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each thing done; what was lost stands in the first."""
        more = len(self.lost) - SHOWN
        lost = "; ".join(self.lost[:SHOWN]) or "nothing"
        lost += f"; and {more} more" if more > 0 else ""
        return [
            {
                "scenario": "" if number else self.scenario,
                "what": what,
                "times": times,
                "lost": "" if number else lost,
            }
            for number, (what, times) in enumerate(self.done.items())
        ] or [{"scenario": self.scenario, "what": "nothing", "times": 0, "lost": lost}]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return {"scenario": self.scenario, "done": dict(self.done), "lost": self.lost}


@dataclass(frozen=True)
class Size:
    """How long a scenario goes on.

    Attributes
    ----------
    seconds: each phase under load.
    crashes: times the server is killed.
    events: events one session inserts while its memory is watched.
    publishes: versions published meanwhile.
    restores: ways in which a dump is restored.
    """

    seconds: float
    crashes: int
    events: int
    publishes: int
    restores: int


SHORT = Size(seconds=1.5, crashes=2, events=3_000, publishes=6, restores=2)
LONG = Size(seconds=20, crashes=30, events=100_000, publishes=50, restores=4)
