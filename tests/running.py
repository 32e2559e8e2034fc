"""A runner in a thread, for the tests of ``rescore run`` and of what it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rescore.trainer import run as runner


class Running:
    """A runner in a thread: what it said, and how it ended."""

    def __init__(self, dsn: str, jobs: Sequence[Any], say: Any = None, **options: Any) -> None:
        self.said: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self.ended: Any = None
        options |= {"say": say or self.said.append, "stop": self.stop}
        self.thread = threading.Thread(target=self._run, args=(dsn, jobs), kwargs=options)
        self.thread.start()

    def _run(self, dsn: str, jobs: Sequence[Any], **options: Any) -> None:
        try:
            self.ended = runner.run(dsn, jobs, **options)
        except Exception as error:
            self.ended = error

    def of(self, job: str) -> list[dict[str, Any]]:
        """What it said of one job."""
        return [facts for facts in self.said if facts["job"] == job]


@contextmanager
def running(dsn: str, jobs: Sequence[Any], say: Any = None, **options: Any) -> Iterator[Running]:
    """Run jobs until the block ends, which the runner outlives by twenty seconds at most."""
    made = Running(dsn, jobs, say, **options)
    try:
        yield made
    finally:
        made.stop.set()
        made.thread.join(timeout=20)
    assert not made.thread.is_alive()
    assert made.ended is not None


def until(happened: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something to become true, and return it."""
    for _ in range(int(seconds * 20)):
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
