"""Publishing while clients insert: how far their throughput dips, and from when they use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.pgbench import Measures, Turn, pgbench
from rescore.bench.sites import Connection, Site, publish_linear

CLIENTS = 4
BASELINE = "no publish"
Switch = Callable[[Connection], None]


def dips(context: Context) -> Iterator[str]:
    """Measure the second around a publish beside the other seconds; yield what is being done."""
    yield "building the profiles"
    site = context.built(context.site("rescore", min(context.scale.features)))
    for turn in context.turns():
        for contender, switch in SWITCHES.items():
            yield f"{contender} while {CLIENTS} clients insert, turn {turn + 1}"
            measures = _dip(site, context.scale.publish_seconds, switch)
            context.add("publish", contender, measures, BASELINE, clients=CLIENTS)


def _nothing(conn: Connection) -> None:
    """The baseline: seconds differ among themselves, too."""


def _publish(conn: Connection) -> None:
    publish_linear(conn, "churn", 11)


def _promote(conn: Connection) -> None:
    conn.execute(shop.statement("switch.sql.j2"))


SWITCHES: dict[str, Switch] = {BASELINE: _nothing, "promote": _promote, "publish": _publish}


def _dip(site: Site, seconds: int, switch: Switch) -> Measures:
    """Switch in the middle of a turn of pgbench.

    Returns
    -------
    ``throughput_left``: in the second around the commit, over the rest's. ``switch_ms``: how long
    the switch took. ``replan_ms``: what the first insert of a session after the commit took longer
    than the median. And, where there is a new version, :func:`_use`.
    """
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    turns: list[Turn] = []

    def write() -> None:
        options = "-c synchronous_commit=off"
        turns.append(pgbench(site, script, clients=CLIENTS, seconds=seconds, options=options))

    with site.connect() as conn:
        for seed in (7, 9):  # the session has loaded what it needs, and there is one to go back to
            publish_linear(conn, "churn", seed)
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(seconds / 2)
        began = time.time()
        switch(conn)
        ended = time.time()
        writer.join()
        use = _use(conn, began, ended) if switch is not _nothing else {}
    took = {"switch_ms": (ended - began) * 1e3, "replan_ms": replanned(turns[0], ended)}
    return {"throughput_left": _left(turns[0], ended)} | took | use


def _use(conn: Connection, began: float, committed: float) -> Measures:
    """Return what the profiles say of the switch.

    Returns
    -------
    ``first_use_ms``: from the commit to the begin of the first transaction that wrote a score of
    the new version. ``last_old_ms``: to that of the last that wrote one of the old; below 0 where
    every transaction that began later used the new one.
    """
    row = conn.execute(shop.statement("use.sql.j2"), [began]).fetchone()
    names = ("first_use_ms", "last_old_ms")
    moments = zip(names, row or (), strict=True)
    return {name: (float(at) - committed) * 1e3 for name, at in moments if at is not None}


def replanned(turn: Turn, moment: float) -> float:
    """Return by how many milliseconds a session's first transaction after a moment took longer.

    Than the median of all; the median over the sessions, 0 where none began later.
    """
    begun = turn.ends - turn.latencies / 1e6
    firsts = [
        turn.latencies[(turn.clients == client) & (begun >= moment)][:1]
        for client in np.unique(turn.clients)
    ]
    longer = [float(first[0] - np.median(turn.latencies)) for first in firsts if len(first)]
    return float(np.median(longer)) / 1e3 if longer else 0.0


def _left(turn: Turn, moment: float) -> float:
    """Throughput within half a second of a moment, over that of the rest of the turn."""
    near = np.abs(turn.ends - moment) <= 0.5
    begin, end = float(turn.ends.min()), float(turn.ends.max())
    inside = max(min(end, moment + 0.5) - max(begin, moment - 0.5), 0.0)
    outside = end - begin - inside
    if not inside or outside <= 0:  # a turn that short says nothing
        return 0.0
    return float(near.sum() / inside / ((~near).sum() / outside))
