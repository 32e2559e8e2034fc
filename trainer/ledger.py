"""How the jobs of ``rescore run`` went, in the database: for those who ask there, not in its log.

A row a job. What changes is written at once, that all goes well once a minute: jobs are done each
second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from rescore.trainer.database import Connection, query
from rescore.trainer.failing import Facts, Patience

BEAT_SECONDS = 60.0
_OWN = "ledger"


@dataclass(frozen=True)
class State:
    """How a job goes.

    Attributes
    ----------
    error: what fails, of the job or of parts of it; None when nothing does.
    times: how often one after the other.
    """

    error: str | None
    times: int

    @classmethod
    def of(cls, name: str, patience: Patience, parts: Patience | None) -> State:
        """Return it as those know that leave alone what fails; others that hold it are no failure.

        Parameters
        ----------
        patience: with jobs.
        parts: with the profiles or models of this one.
        """
        if known := patience.failing.get(name):
            return cls(known.error, known.times)
        failing = parts.failing if parts else {}
        told = "; ".join(f"{part}: {each.error}" for part, each in failing.items())
        return cls(told or None, max((each.times for each in failing.values()), default=0))


@dataclass
class Ledger:
    """What is written of the jobs.

    Attributes
    ----------
    jobs: names of all there are; rows of others are removed.
    written: by name, what was written last, and when by the monotonic clock.
    patience: with the table, which a role may not write, or a standby.
    """

    jobs: Sequence[str]
    written: dict[str, tuple[State, float]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)

    def note(self, conn: Connection, name: str, state: State, stop: Event | None = None) -> Facts:
        """Write how a job goes, where that is new or a minute old; say why not, where it cannot.

        Parameters
        ----------
        stop: once set, nothing is said of what was cancelled.

        Raises
        ------
        NoServer: the connection is lost, or could not be put back into a clean state.
        """
        before, at = self.written.get(name, (None, 0.0))
        is_new = before != state or time.monotonic() - at >= BEAT_SECONDS
        if not is_new or self.patience.waits(_OWN):
            return {}
        given: dict[str, Any] = {"job": name, "jobs": list(self.jobs), **vars(state)}
        told = self.patience.tried(conn, _OWN, lambda: self._write(conn, given), stop)
        if "error" in told:
            return {"unrecorded": told["error"]}
        self.written[name] = (state, time.monotonic())
        return {}

    def _write(self, conn: Connection, given: dict[str, Any]) -> Facts:
        conn.execute(query("run_note"), given)
        return {}
