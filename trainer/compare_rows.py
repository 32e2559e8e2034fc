"""Snapshots of two versions, read as they come and counted: memory does not grow with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rescore.errors import NotEnoughData, RescoreError, UnknownVersion
from rescore.trainer.database import Connection, query
from rescore.trainer.learning.hashing import Hashes, groups
from rescore.trainer.learning.histogram import BINS, GROUPS, THRESHOLD
from rescore.trainer.learning.target import Counted, Target, counter, threshold_of, typed
from rescore.trainer.loop.state import read_version

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PAGE = 100_000
"""Snapshots counted at a time."""
FROM_A_THRESHOLD = ("accuracy", "precision", "recall", "f1")
"""Metrics for which it matters from which score on a version says that it happens."""
_FEWEST_BINS = 64
_HEADER, _TRAILER = 19, 2  # of COPY BINARY
_COLUMNS = {
    "hashes": ">u8", "labels": ">f8", "versions": ">i4", "challenged": "?", "treated": "?",
    "candidate": ">f8", "champion": ">f8", "trial": "?",
}  # fmt: skip
_RECORD = np.dtype(
    [
        ("fields", ">i2"),
        *(each for n, kind in _COLUMNS.items() for each in ((f"{n} length", ">i4"), (n, kind))),
    ]
)


@dataclass(frozen=True)
class Overview:
    """What there is to compare two versions on.

    Attributes
    ----------
    rows: resolved snapshots that either scored.
    both, customers: those that both scored, untreated, and different customers among them.
    own: those that either served, untreated; ``candidates`` and ``champions``: its customers.
    probability: whether all scores lie between 0 and 1.
    trial: since when the candidate has challenged; None if never.
    """

    rows: int
    both: int
    customers: int
    own: int
    candidates: int
    champions: int
    probability: bool
    trial: datetime | None


@dataclass(frozen=True)
class Rows:
    """Resolved snapshots, each shape (n,); scores are NaN where a version gave none."""

    hashes: Hashes
    labels: Floats
    versions: NDArray[np.int32]
    challenged: Mask
    treated: Mask
    candidate: Floats
    champion: Floats
    trial: Mask


def overview(conn: Connection, given: Mapping[str, Any]) -> Overview:
    """Count what there is; the server does it."""
    row = conn.execute(query("compare_overview"), given).fetchone()
    assert row is not None
    return Overview(*row)


def too_early(
    conn: Connection, given: Mapping[str, Any], there: Overview, scoring: Collection[int | None]
) -> RescoreError:
    """Return what is to be said where one of the versions has no snapshot that is resolved.

    Parameters
    ----------
    scoring: versions whose scores snapshots hold from now on; no others ever get any.
    """
    known = [version for (version,) in conn.execute(query("versions"), (given["model"],))]
    for version in (given["candidate"], given["champion"]):
        if version not in known:
            return UnknownVersion(
                f"model {given['model']} has no version {version}",
                detail=f"Its versions: {', '.join(map(str, known))}.",
                hint="Name one of these.",
            )
    sides = {given["candidate"]: there.candidates, given["champion"]: there.champions}
    missing = [version for version, customers in sides.items() if not customers]
    silent = [version for version in missing if version not in scoring]
    hint = "rescore run takes snapshots and resolves them"
    if silent:
        begin = f"`rescore shadow {given['model']} {silent[0]}`"
        hint = f"{begin} lets it score beside the champion, in snapshots that rescore run takes"
    which = "either version" if len(missing) == 2 else f"version {missing[0]}"
    return NotEnoughData(
        f"no resolved snapshot has a score of {which}",
        detail=" ".join(_awaited(conn, given, version) for version in missing),
        hint=f"{hint}; beside a version that served earlier: "
        "rescore compare MODEL VERSION --with OTHER",
    )


def _awaited(conn: Connection, given: Mapping[str, Any], version: int) -> str:
    """Say from when on it can be compared: a snapshot is resolved once its horizon has passed."""
    row = conn.execute(query("compare_open"), {**given, "version": version}).fetchone()
    assert row is not None  # an aggregate of no rows is one
    open_, due = row
    if due is None:
        return f"No snapshot that waits for its outcome has one of version {version}."
    return f"Version {version} scored {open_} that wait; the first is resolved from {due} on."


def thresholds(conn: Connection, given: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Return from which score on candidate and champion say so; read only where it matters."""
    if metric not in FROM_A_THRESHOLD:
        return THRESHOLD, THRESHOLD
    one, other = (read_version(conn, given["model"], given[n]) for n in ("candidate", "champion"))
    return threshold_of(one.estimator), threshold_of(other.estimator)


def pages(conn: Connection, given: Mapping[str, Any], trial: datetime | None) -> Iterator[Rows]:
    """Yield the snapshots, so many at a time as they come."""
    parts = {name: sql.Literal(value) for name, value in {**given, "trial": trial}.items()}
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query("compare", **parts))
    size, held, skip = _RECORD.itemsize, bytearray(), _HEADER
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in copy:
            held += chunk
            if len(held) - skip < PAGE * size + _TRAILER:
                continue
            yield _rows(bytes(held[skip : skip + PAGE * size]))
            del held[: skip + PAGE * size]
            skip = 0
    yield _rows(bytes(held[skip : len(held) - _TRAILER]))


def _rows(data: bytes) -> Rows:
    found = np.frombuffer(data, _RECORD)
    return Rows(**{n: found[n].astype(_RECORD[n].newbyteorder("=")) for n in _COLUMNS})


@dataclass
class Served:
    """Outcomes of whom a version has served, summed by group: shape (groups,)."""

    sums: Floats = field(default_factory=lambda: np.zeros(GROUPS))
    counts: Floats = field(default_factory=lambda: np.zeros(GROUPS))

    def add(self, rows: Rows, mask: Mask) -> None:
        """Add the snapshots of a mask."""
        members = groups(rows.hashes[mask], GROUPS)
        self.sums += np.bincount(members, rows.labels[mask], GROUPS)
        self.counts += np.bincount(members, minlength=GROUPS)


@dataclass
class Tally:
    """Both versions' scores and outcomes, counted page by page.

    Attributes
    ----------
    versions: the candidate, and the champion.
    paired: whether both are counted on the snapshots that both scored; else each on its own.
    thresholds: see `thresholds`.
    sides: what is counted of the two; None before the first page, which says where scores lie.
    served: outcomes of the challenger's customers and of the champion's, since the trial began.
    """

    versions: tuple[int, int]
    found: Overview
    target: Target
    paired: bool
    thresholds: tuple[float, float] = (THRESHOLD, THRESHOLD)
    sides: tuple[Counted, Counted] | None = None
    served: tuple[Served, Served] = field(default_factory=lambda: (Served(), Served()))

    def add(self, rows: Rows) -> None:
        """Count a page."""
        masks, scores = self._masks(rows), (rows.candidate, rows.champion)
        if self.sides is None:
            each = zip(scores, masks, self.thresholds, strict=True)
            one, other = (self._empty(scores[mask], limit) for scores, mask, limit in each)
            self.sides = one, other
        for side, told, mask in zip(self.sides, scores, masks, strict=True):
            labels = typed(rows.labels[mask], self.target)
            side.add(told[mask], labels, groups(rows.hashes[mask], GROUPS))
        self.served[0].add(rows, self._of(rows, 0) & rows.trial & rows.challenged)
        self.served[1].add(rows, self._of(rows, 1) & rows.trial & ~rows.challenged)

    def _of(self, rows: Rows, side: int) -> Mask:
        mask: Mask = rows.versions == self.versions[side]
        return mask

    def _masks(self, rows: Rows) -> tuple[Mask, Mask]:
        known = np.isfinite(rows.candidate), np.isfinite(rows.champion)
        if self.paired:
            both = known[0] & known[1] & ~rows.treated
            return both, both
        one, other = (self._of(rows, n) & known[n] & ~rows.treated for n in (0, 1))
        return one, other

    def _empty(self, scores: Floats, threshold: float) -> Counted:
        total = self.found.both if self.paired else self.found.own
        bins = min(BINS, max(total // 4, _FEWEST_BINS))
        how = self.found.probability
        return counter(scores, self.target, probability=how, bins=bins, threshold=threshold)
