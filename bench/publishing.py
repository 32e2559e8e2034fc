"""Publishing while clients insert: how far their throughput dips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from rescore.bench import shop
from rescore.bench.pgbench import Turn, pgbench
from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import Connection, Site, publish_linear

CLIENTS = 4
BASELINE = "no publish"
Switch = Callable[[Connection], None]


def dips(samples: Samples, site: Site, scale: Scale) -> Iterator[str]:
    """Measure the second around a publish beside the other seconds; yield what is being done."""
    works: dict[str, Switch] = {
        BASELINE: lambda conn: None,
        "promote": _promote,
        "publish": lambda conn: _publish(conn, 11),
    }
    for turn in range(scale.rounds):
        yield f"publish while {CLIENTS} clients insert, turn {turn + 1}"
        for contender, switch in works.items():
            measures = _dip(site, scale.publish_seconds, switch)
            samples.add("publish", contender, measures, baseline=BASELINE, clients=CLIENTS)


def _publish(conn: Connection, seed: int) -> None:
    publish_linear(conn, "churn", seed)


def _promote(conn: Connection) -> None:
    conn.execute(shop.statement("switch.sql.j2"))


def _dip(site: Site, seconds: int, switch: Switch) -> dict[str, float]:
    """Switch in the middle of a turn of pgbench.

    Returns
    -------
    share of the median throughput that is left in the second around the commit, and how long the
    switch took, in milliseconds.
    """
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    turns: list[Turn] = []

    def write() -> None:
        options = "-c synchronous_commit=off"
        turns.append(pgbench(site, script, clients=CLIENTS, seconds=seconds, options=options))

    with site.connect() as conn:
        _publish(conn, 7)
        _publish(conn, 9)  # the session has loaded what it needs, and there is one to go back to
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(seconds / 2)
        began = time.time()
        switch(conn)
        ended = time.time()
        writer.join()
    left = _left(turns[0], ended)
    return {"throughput_left": left, "switch_ms": (ended - began) * 1e3}


def _left(turn: Turn, moment: float) -> float:
    """Throughput within half a second of a moment, over that of the rest of the turn."""
    near = np.abs(turn.ends - moment) <= 0.5
    begin, end = float(turn.ends.min()), float(turn.ends.max())
    inside = max(min(end, moment + 0.5) - max(begin, moment - 0.5), 0.0)
    outside = end - begin - inside
    if not inside or outside <= 0:  # a turn that short says nothing
        return 0.0
    return float(near.sum() / inside / ((~near).sum() / outside))
