"""What has moved: the newest snapshots beside those the serving version learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from river.drift import ADWIN
from scipy.stats import rankdata

from rescore.trainer.database import Connection, query, translated
from rescore.trainer.failing import go_on
from rescore.trainer.learning.drift import drift, recent
from rescore.trainer.learning.hashing import distinct
from rescore.trainer.learning.histogram import EDGE
from rescore.trainer.loop.attempt import moment
from rescore.trainer.loop.block import Block
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.reference import LABEL, SCORE, refer_to_snapshots
from rescore.trainer.loop.state import State, read_state
from rescore.trainer.loop.treatment import weighed

Floats = NDArray[np.float64]

NEWEST = 5_000
"""Snapshots compared with those of training."""
CERTAINTY = 1e-4
"""How often the streaming detector may see a change, in one column, where there is none."""


@dataclass(frozen=True)
class Moved:
    """How far a column has moved.

    Attributes
    ----------
    feature: column of the design row; ``score``: as served; ``label``: the outcome; ``loss``: log
        loss of what was served, or how far it was from a number.
    began, ended: moments of the first and the last snapshot compared.
    numbers: see `rescore.trainer.learning.drift.Drift`; empty where training keeps no sample.
    changed_at: from about when on the streaming detector saw other values; None for no change.
    """

    feature: str
    version: int
    examples: int
    began: datetime
    ended: datetime
    numbers: dict[str, float | None]
    changed_at: datetime | None

    @property
    def excess(self) -> float:
        """Stability index above what chance alone would make."""
        numbers = self.numbers
        return (numbers.get("psi") or 0.0) - (numbers.get("psi_by_chance") or 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        names = ("psi", "psi_by_chance", "ks", "p_value", "outside", "before", "now")
        numbers = {name: self.numbers.get(name) for name in names}
        return {"feature": self.feature, "version": self.version, "examples": self.examples,
                "changed_at": self.changed_at, **numbers}  # fmt: skip


def watch(conn: Connection, model: str, stop: Event | None = None) -> list[Moved]:
    """Tell what has moved, and keep it for ``rescore.feature_drift``.

    A version that has nothing to be compared with is given the newest snapshots, once there are
    enough: it is from then on that drift is told.

    Parameters
    ----------
    conn: in autocommit mode.
    stop: once set, nothing is told.

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    Stopped: ``stop`` was set.
    """
    with translated():
        state = read_state(conn, model)
        if state.champion.reference is None and refer_to_snapshots(
            conn, model, state.champion.number, state.champion.contract, state.champion.estimator
        ):
            state = read_state(conn, model)
        reader = Reader.of(conn, state)
        found = []
        for each in chain(_columns(state, reader), _outcomes(state, reader)):
            go_on(stop or Event())
            found.append(each)
        rows = Jsonb([_row(each) for each in found])
        conn.execute(query("drift_record"), (model, state.champion.number, rows))
    return found


def _columns(state: State, reader: Reader) -> Iterator[Moved]:
    block = _in_time(reader.recent(NEWEST, resolved=False), reader.every)
    if not len(block):
        return
    names = state.line.contract.columns()
    columns = dict(zip(names, block.design.T, strict=True))
    if SCORE not in columns and np.isfinite(block.scores).all():
        columns[SCORE] = block.scores
    for name, column in columns.items():
        yield _moved(state, block, name, column)


def _moved(state: State, block: Block, name: str, column: Floats) -> Moved:
    kept, numbers = state.champion.reference or {}, {}
    if name in kept:
        customers = state.champion.customers, distinct(block.hashes)
        now = recent(kept, [name], column[:, None])
        numbers = drift(kept[name], now[name], customers).to_json()
    return _told(state, block, name, numbers, changed(column))


def _outcomes(state: State, reader: Reader) -> Iterator[Moved]:
    """Watch outcomes, and how well they were foreseen: a concept can change and no column.

    Those of treated customers are no examples, and say nothing of what would have come without.
    """
    newest = reader.recent(NEWEST, resolved=True)
    block = _in_time(_examples(newest, state.terms.held_out), reader.every)
    if not len(block):
        return
    found = {LABEL: block.labels}
    if state.terms.target == "number":
        found["loss"] = np.abs(block.labels - np.nan_to_num(block.scores))
    elif ((block.scores >= 0) & (block.scores <= 1)).all():
        chance = np.clip(block.scores, EDGE, 1 - EDGE)
        found["loss"] = -np.log(np.where(block.labels == 1, chance, 1 - chance))
    columns = state.line.contract.columns()
    for name, each in found.items():
        if name not in columns:  # a column that is named so is told already
            yield _moved(state, block, name, each)


def _examples(block: Block, held_out: float | None) -> Block:
    """Return those of the newest that are learnt from."""
    kept = weighed(block, held_out).weights > 0 if held_out else ~block.treated
    return block.take(kept)


def _told(state: State, block: Block, name: str, numbers: dict[str, Any], at: int | None) -> Moved:
    began, ended = moment(float(block.taken.min())), moment(float(block.taken.max()))
    since = None if at is None else moment(float(block.taken[at]))
    return Moved(name, state.champion.number, len(block), began, ended, numbers, since)


def changed(values: Floats) -> int | None:
    """Return from where on a stream has been different; None where it has not changed.

    ADWIN says whether, and is rarely wrong; its window, cut in steps that grow, says only roughly
    since when. That is where the sum of what came before is furthest from its share.

    Parameters
    ----------
    values: shape (n,), in the order of time; ranks are watched, so that one absurd value is no
        more than the largest.
    """
    ranks, detector = _ranks(values), ADWIN(delta=CERTAINTY)
    seen = False
    for value in ranks.tolist():
        detector.update(value)
        seen = seen or detector.drift_detected
    if not seen:
        return None
    return int(np.argmax(np.abs(np.cumsum(ranks - ranks.mean())))) + 1


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0 to 1, the same for equal values."""
    ranks: Floats = (rankdata(values) - 1) / max(len(values) - 1, 1)
    return ranks


def _in_time(block: Block, every: float | None) -> Block:
    """Return snapshots from old to new; those of one round in the order of their hashes.

    In the order of the keys, the customers of each round would be from the oldest to the newest,
    and the detector would see a change in each. A round may take hours, a batch at a moment.

    Parameters
    ----------
    every: seconds from one round to the next; None where events are logged.
    """
    ages = block.taken.max(initial=-np.inf) - block.taken
    return block.take(np.lexsort((block.hashes, -(ages // every if every else ages))))


def _row(each: Moved) -> dict[str, Any]:
    times = {"began": each.began, "ended": each.ended, "changed_at": each.changed_at}
    told = {name: at.isoformat() if at else None for name, at in times.items()}
    return {"feature": each.feature, "examples": each.examples, "numbers": each.numbers, **told}
