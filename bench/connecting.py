"""The first score of a new connection, and the memory it then has for itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.pgbench import Measures
from rescore.bench.reading import big
from rescore.bench.sites import Site

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ...(.) ")
BASELINE = "plain query"
QUERIES = {
    BASELINE: "first_plain",
    "rescore": "first_rescore",
    "rescore, predict_key": "first_predict_key",
    "PL/Python, scikit-learn": "first_python",
}
# Connections in a turn: one is soon over, and the first of a database loads its catalogue.
REPEATS = 3


def new_connection(context: Context) -> Iterator[str]:
    """Measure the first score of a connection and its private memory; yield what is done."""
    yield f"building {context.scale.scanned:,} profiles"
    site = big(context)
    for turn in context.turns():
        yield f"first score of a connection, turn {turn + 1}"
        for contender, name in min(REPEATS, context.scale.rounds) * list(QUERIES.items()):
            text = shop.statement(f"{name}.sql.j2", features=shop.features(site.features))
            context.add("new connection", contender, _first(site, text), BASELINE)


def _first(site: Site, text: bytes) -> Measures:
    with site.connect() as conn:
        began = time.perf_counter()
        conn.execute(text).fetchall()
        milliseconds = (time.perf_counter() - began) * 1e3
        return {"first_ms": milliseconds, "private_mb": private_memory(conn.info.backend_pid)}


def private_memory(pid: int) -> float:
    """Return what a process has for itself, in MB: pages of its private mappings that only it has.

    Pages of shared memory that nobody else has looked at yet are told as private too: buffers,
    which are everybody's.
    """
    found, own = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := _MAPPING.match(line):
            own = mapping[1] == "p"
        elif own and line.startswith("Private_"):
            found += int(line.split()[1])
    return found / 1024
