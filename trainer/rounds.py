"""A round of a job over several profiles or models: one that fails keeps no other from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from threading import Event

from rescore.trainer.database import Connection
from rescore.trainer.failing import Facts, Patience

__all__ = ["Facts", "Round", "failures", "postponed", "sums"]


class Round:
    """What a job does for several, one after the other, until told to stop.

    Parameters
    ----------
    kind: what the names are of, ``profile`` or ``model``: the key of the name in what is returned.
    patience: of the job; who fails again and again is left alone for a while.
    """

    def __init__(self, conn: Connection, kind: str, patience: Patience, stop: Event) -> None:
        self._conn, self._kind, self._patience, self._stop = conn, kind, patience, stop

    def each(self, names: Iterable[str], work: Callable[[str], Facts]) -> list[Facts]:
        """Do the work for each name.

        Parameters
        ----------
        work: returns what the log is to say of one.

        Returns
        -------
        What was said of each that was tried; ``error`` where it failed.

        Raises
        ------
        NoServer: the connection is lost, for all of them.
        """
        wanted = list(names)
        self._patience.only(wanted)
        left = (name for name in wanted if not self._stop.is_set())
        return [self._one(name, work) for name in left if not self._patience.waits(name)]

    def _one(self, name: str, work: Callable[[str], Facts]) -> Facts:
        found = self._patience.tried(self._conn, name, lambda: work(name), self._stop)
        return {self._kind: name, **found}


def sums(done: Sequence[Facts], keys: Sequence[str]) -> Facts:
    """Return the sum over all of them for each key; what failed counts nothing."""
    return {key: sum(facts.get(key, 0) for facts in done) for key in keys}


def failures(kind: str, done: Sequence[Facts]) -> Facts:
    """Return one ``error`` of all that failed, and where they were raised, or nothing."""
    failed = [f"{facts[kind]}: {facts['error']}" for facts in done if "error" in facts]
    traces = [facts["trace"] for facts in done if "trace" in facts]
    told: Facts = {"error": "; ".join(failed)} if failed else {}
    return told | ({"trace": "\n".join(traces)} if traces else {})


def postponed(kind: str, done: Sequence[Facts], patience: Patience) -> Facts:
    """Return until when those are left alone that fail again and again, and why, or nothing.

    Parameters
    ----------
    done: what was tried; why that failed is in `failures`.
    """
    tried, now = {facts[kind] for facts in done}, datetime.now().astimezone()
    told = [
        f"{name} until {(now + timedelta(seconds=each['retry'])).isoformat(timespec='seconds')}"
        + ("" if name in tried else f": {each['error']}")
        for name, each in patience.to_json().items()
        if each["retry"]
    ]
    return {"postponed": "; ".join(told)} if told else {}
