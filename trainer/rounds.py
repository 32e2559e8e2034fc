"""A round of a job over several profiles or models: one that fails keeps no other from it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any

from rescore.errors import NoServer, RescoreError
from rescore.trainer.database import translated

Facts = dict[str, Any]


def each(kind: str, names: Iterable[str], work: Callable[[str], Facts], stop: Event) -> list[Facts]:
    """Do the work for one after the other until told to stop.

    Parameters
    ----------
    kind: what the names are of, ``profile`` or ``model``: the key of the name in what is returned.
    work: returns what the log is to say of one.

    Returns
    -------
    What was said of each; ``error`` where it failed.

    Raises
    ------
    NoServer: the connection is lost, for all of them.
    """
    return [{kind: name, **_one(work, name)} for name in names if not stop.is_set()]


def _one(work: Callable[[str], Facts], name: str) -> Facts:
    try:
        with translated():
            return work(name)
    except NoServer:
        raise
    except Exception as error:
        return {"error": told(error)}


def told(error: Exception) -> str:
    """Return what the log is to say of an error; of a fault of rescore's own, also where it is."""
    if isinstance(error, RescoreError):
        return error.message
    traceback.print_exception(error, file=sys.stderr)
    return f"{type(error).__name__}: {error}"


def sums(done: Sequence[Facts], keys: Sequence[str]) -> Facts:
    """Return the sum over all of them for each key; what failed counts nothing."""
    return {key: sum(facts.get(key, 0) for facts in done) for key in keys}


def failures(kind: str, done: Sequence[Facts]) -> Facts:
    """Return one ``error`` of all that failed, or nothing."""
    failed = [f"{facts[kind]}: {facts['error']}" for facts in done if "error" in facts]
    return {"error": "; ".join(failed)} if failed else {}
