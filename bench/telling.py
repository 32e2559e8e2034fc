"""What the bench is doing: a progress bar on a terminal, a line each elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rescore import console


class Teller:
    """Knows how much of the run's time is over; a work that takes longer stands still."""

    def __init__(self, bar: Progress, seconds: float) -> None:
        self._bar = bar
        self._task = bar.add_task("bench", total=seconds)
        self._began = time.monotonic()
        self._work = ""

    @contextmanager
    def work(self, name: str, seconds: float) -> Iterator[None]:
        """Count the time of a work, at most what it was to take, and in the end all of that."""
        done = self._bar.tasks[0].completed
        self._work, self._since = name, time.monotonic()
        self._done, self._most = done, seconds
        yield
        self._bar.update(self._task, completed=done + seconds)

    def tell(self, doing: str) -> None:
        """Say what comes next."""
        spent = min(time.monotonic() - self._since, self._most)
        text = f"{self._work}: {doing}"
        self._bar.update(self._task, completed=self._done + spent, description=text)
        if self._bar.disable:
            console.say(f"{time.monotonic() - self._began:6.0f} s  {text}")


@contextmanager
def telling(seconds: float) -> Iterator[Teller]:
    """Show the bar while the block runs.

    Parameters
    ----------
    seconds: all works may take.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    left = TimeRemainingColumn()
    with Progress(*columns, left, console=console.err, disable=not console.err.is_terminal) as bar:
        yield Teller(bar, seconds)
