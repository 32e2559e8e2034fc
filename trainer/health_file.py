"""What ``rescore run`` is doing, in a file: for a supervisor that asks whether it lives.

Written before and after each job, and at least every few seconds while there is nothing to do; it
is replaced in one step, so that nobody reads half of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from rescore.trainer.database import Connection, translated
from rescore.trainer.failing import Patience, explained
from rescore.trainer.rounds import Facts
from rescore.trainer.run import Job, Say, channel_of, patience_of
from rescore.trainer.run_log import now
from rescore.trainer.usage import WrongUsage

BEAT_SECONDS = 5.0
_STATES = {"connection": "disconnected", "standby": "standby"}


@dataclass
class HealthFile:
    """The file, and what it says.

    Attributes
    ----------
    path: of the file; its directory must be there.
    jobs: by name, when a job last ended, with which error, how many times one after the other it
        has failed, and which of its profiles or models do.
    """

    path: Path
    jobs: dict[str, Facts] = field(default_factory=dict)

    def begin(self) -> None:
        """Write it for the first time.

        Raises
        ------
        WrongUsage: it cannot be written.
        """
        try:
            self.write("starting")
        except OSError as error:
            raise WrongUsage(
                f"--health-file {self.path}: {error.strerror}",
                hint="name a file in a directory that is there and may be written",
            ) from error

    def watched(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, each told in the file, and one that does nothing but write it."""
        return [*(Watched(job, self) for job in jobs), Beat(self)]

    def saying(self, say: Say) -> Say:
        """Return what says a fact and writes what it means: no connection, or another runs."""

        def both(facts: Facts) -> None:
            say(facts)
            if state := _STATES.get(facts["job"]):
                self.tell(state, **{k: v for k, v in facts.items() if k in ("error", "behind")})

        return both

    def tell(self, state: str, **more: Any) -> None:
        """Replace the file if it can be; where it cannot, `Beat` fails and says so."""
        with suppress(OSError):
            self.write(state, **more)

    def write(self, state: str, **more: Any) -> None:
        """Replace the file.

        Parameters
        ----------
        state: ``starting``, ``working``, ``waiting``, ``standby``, ``disconnected`` or ``stopped``.
        """
        told = {"at": now(), "state": state, "pid": os.getpid(), **more, "jobs": self.jobs}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(told, default=str) + "\n", encoding="utf-8")
        beside.replace(self.path)


@dataclass(frozen=True)
class Watched:
    """A job whose rounds the file tells; everything else is the job's own."""

    job: Job
    file: HealthFile

    @property
    def name(self) -> str:
        """Of the job."""
        return self.job.name

    @property
    def every(self) -> float:
        """Of the job."""
        return self.job.every

    @property
    def channel(self) -> str | None:
        """What is notified here makes it due; None for nothing."""
        return channel_of(self.job)

    @property
    def patience(self) -> Patience | None:
        """Of the job, with the parts of its rounds."""
        return patience_of(self.job)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Do the job's round."""
        self.file.tell("working", job=self.name, since=now())
        error: str | None = "interrupted"
        try:
            with translated():
                facts = self.job.work(conn, stop)
            error = facts.get("error")
        except Exception as failure:
            error = explained(failure)["error"]
            raise
        finally:
            self.file.jobs[self.name] = self._ended(error)
            self.file.tell("waiting")
        return facts

    def _ended(self, error: str | None) -> Facts:
        """Return how the job ended; what fails and is not tried now still fails."""
        before = self.file.jobs.get(self.name, {}).get("times", 0)
        parts = self.patience.to_json() if self.patience else {}
        if parts and not error:
            error = "; ".join(f"{name}: {told['error']}" for name, told in parts.items())
        facts: Facts = {"at": now(), "error": error}
        facts |= {"times": before + 1} if error else {}
        return facts | ({"failing": parts} if parts else {})


@dataclass(frozen=True)
class Beat:
    """Writes the file while there is nothing to do, and asks the server for a sign of life."""

    file: HealthFile
    every: float = BEAT_SECONDS
    name: str = "health"

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Write the file; a connection that is gone is noticed here."""
        conn.execute("SELECT 1")
        self.file.write("waiting")
        return {}


@contextmanager
def watching(path: Path | None, jobs: list[Job], say: Say) -> Iterator[tuple[list[Job], Say]]:
    """Yield the jobs and what says their facts, as they are told in the file; as they are for None.

    Raises
    ------
    WrongUsage: the file cannot be written.
    """
    if path is None:
        yield jobs, say
        return
    file = HealthFile(path)
    file.begin()
    try:
        yield file.watched(jobs), file.saying(say)
    finally:
        file.tell("stopped")
