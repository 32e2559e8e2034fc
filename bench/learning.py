"""Learning from resolved examples, and how soon what was learnt serves."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.meter import TICKS
from rescore.bench.sites import Connection, Site
from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.trainer.fit import Recipe, fit
from rescore.trainer.loop.block import START, Block
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state
from rescore.trainer.publish import publish

COLUMNS = 8
BATCHES = (500, 1_000, 100_000)
"""Examples of a micro-batch; the first is what a definition has that says nothing of it."""
FIRST = 1_000
"""Examples of the round that loads scikit-learn in the server: enough to be published."""
IN_MEMORY = 1_000_000
"""Examples that are held in memory for those that learn from there: rates, at any rate."""
RIVER = 20_000
"""Examples for River, which takes some 30 µs for each."""
DELAYS = 5
NEW_LABELS = 1_000
PATIENCE = 120.0
SGD: dict[str, Any] = {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.01}
ESTIMATOR = {"sgd_classifier": SGD}
BASELINE = "partial_fit in memory"
WITH_SCALER = "StandardScaler and partial_fit in memory"
DELAY = "label's commit to serving"


def learning(context: Context) -> Iterator[str]:
    """Measure learning beside learning in memory; yield what is being done."""
    learnt = context.scale.learnt
    yield f"{learnt:,} resolved examples to learn from"
    site = context.built(context.site("rescore", COLUMNS, profiles=1_000))
    with site.connect() as conn:
        _prepare(conn, learnt)
        examples = _in_memory(conn, min(learnt, IN_MEMORY))
    for turn in context.turns():
        for batch in (b for b in BATCHES if b <= learnt):
            yield f"learning in micro-batches of {batch:,}, turn {turn + 1}"
            _turn(context, site, examples, batch)
    yield "from a label's commit to the new version serving"
    for seconds in delays(site, learnt):
        context.add(DELAY, "rescore run", {"seconds": seconds}, "rescore run", labels=NEW_LABELS)
    context.drop(site)


def _prepare(conn: Connection, count: int) -> None:
    """Let the model learn, publish what it goes on from, and log what came of many moments."""
    _define(conn, BATCHES[0])
    random = np.random.default_rng(1)
    design = random.uniform(-35, 35, size=(4_000, COLUMNS))
    chance = 1 / (1 + np.exp(design[:, 1] * 0.06 - design[:, 0] * 0.04))
    labels = (random.random(len(design)) < chance).astype(np.int8)
    publish(fit(design, labels, Recipe(ESTIMATOR, passes=1)), model="churn", conn=conn)
    conn.execute(files("rescore.bench").joinpath("learn_again.sql").read_bytes())
    _resolved(conn, 1, count)
    conn.execute("VACUUM ANALYZE rescore.snapshots")
    # Whoever reads would else have to write out, page by page, what was just loaded.
    conn.execute("CHECKPOINT")


def _define(conn: Connection, batch: int) -> None:
    made = shop.definition(COLUMNS, 1)
    made["labels"] = {"churned": {"none": "orders", "within": "30 days"}}
    limits = {"weights": 1e6, "scores": 1e6}
    learnt = {"batch": batch, "margin": 10, "limits": limits}
    made["models"]["churn"] |= {"label": "churned", "estimator": ESTIMATOR, "learn": learnt}
    apply(conn, parse(yaml.safe_dump(made, sort_keys=False)))


def _resolved(conn: Connection, first: int, count: int) -> None:
    conn.execute(shop.statement("resolved.sql.j2", columns=COLUMNS, first=first, count=count))


def _in_memory(conn: Connection, count: int) -> Block:
    return Reader.of(conn, read_state(conn, "churn")).past(START, count)


def _turn(context: Context, site: Site, examples: Block, batch: int) -> None:
    learnt = context.scale.learnt
    work = f"training from {learnt:,} resolved examples"
    for contender, run in IN_MEMORY_CONTENDERS.items():
        with _measured(len(examples)) as measures:
            run(examples, batch)
        context.add(work, contender, measures, BASELINE, batch=batch)
    with site.connect() as conn:
        conn.execute(files("rescore.bench").joinpath("learn_again.sql").read_bytes())
        _define(conn, batch)
    with site.connect() as conn:
        # As in a session of `rescore run`: scikit-learn is loaded, there as here.
        first = -(-FIRST // batch)
        learn(conn, "churn", max_batches=first)
        left, backend = learnt - first * batch, conn.info.backend_pid
        spent = _seconds(backend)
        with _measured(left) as measures:
            learn(conn, "churn")
        measures["server_cpu_us"] = (_seconds(backend) - spent) / left * 1e6
    context.add(work, "rescore learn", measures, BASELINE, batch=batch)
    if batch == BATCHES[0]:
        sample = examples.take(slice(0, RIVER))
        with _measured(len(sample)) as measures:
            _river(sample)
        context.add(work, "River learn_one", measures, BASELINE, batch=batch)


def _seconds(backend: int) -> float:
    """Return processor seconds, user and system, of a backend since it began."""
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


@contextmanager
def _measured(count: int) -> Iterator[dict[str, float]]:
    """Yield what is filled at the end: rate, processor time an example, memory at the most."""
    found: dict[str, float] = {}
    before, began, spent = _peak_memory(reset=True), time.perf_counter(), time.process_time()
    yield found
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    found["rows_per_second"] = count / seconds
    found["client_cpu_us"] = spent / count * 1e6
    found["memory_mb"] = _peak_memory() - before


def _peak_memory(*, reset: bool = False) -> float:
    """Return the most memory this process has had, in MB; since the last reset, where it can be."""
    if reset and (clear := Path("/proc/self/clear_refs")).exists():
        clear.write_text("5")
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    peak = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024


def _partial_fit(examples: Block, batch: int) -> None:
    model = SGDClassifier(**SGD)
    labels = examples.labels.astype(np.int8)
    model.partial_fit(examples.design[:batch], labels[:batch], classes=[0, 1])
    for start in range(batch, len(labels), batch):
        rows = slice(start, start + batch)
        model.partial_fit(examples.design[rows], labels[rows])


def _scaled_partial_fit(examples: Block, batch: int) -> None:
    scaler, model = StandardScaler(), SGDClassifier(**SGD)
    labels = examples.labels.astype(np.int8)
    for start in range(0, len(labels), batch):
        rows = slice(start, start + batch)
        design = scaler.partial_fit(examples.design[rows]).transform(examples.design[rows])
        model.partial_fit(design, labels[rows], classes=[0, 1])


def _river(examples: Block) -> None:
    from river import linear_model, preprocessing

    model: Any = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    rows, labels = examples.design.tolist(), (examples.labels == 1).tolist()
    for row, label in zip(rows, labels, strict=True):
        model.learn_one(dict(enumerate(row)), label)


IN_MEMORY_CONTENDERS: dict[str, Callable[[Block, int], None]] = {
    BASELINE: _partial_fit,
    WITH_SCALER: _scaled_partial_fit,
}


def delays(site: Site, known: int) -> list[float]:
    """Return seconds from the commit of labels, and of a request to learn, to the version serving.

    Parameters
    ----------
    known: examples logged so far.
    """
    with site.connect() as conn, _running(site):
        _define(conn, BATCHES[0])
        found = [_delay(conn, known + 1 + n * NEW_LABELS) for n in range(DELAYS + 1)]
    return found[1:]  # at the first, the runner starts, and learns all that there was


def _delay(conn: Connection, first: int) -> float:
    before = _serving(conn)
    with conn.transaction():
        _resolved(conn, first, NEW_LABELS)
        conn.execute("SELECT rescore.request_learning('churn', 'bench')")
    began = time.perf_counter()
    while _serving(conn) == before:
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError(f"version {before} still serves after {PATIENCE:g} seconds")
        time.sleep(0.005)
    return time.perf_counter() - began


def _serving(conn: Connection) -> Any:
    row = conn.execute(files("rescore.bench").joinpath("serving.sql").read_bytes()).fetchone()
    return row[0] if row else None


@contextmanager
def _running(site: Site) -> Iterator[None]:
    """Have `rescore run` at work while the block runs."""
    command = [sys.executable, "-c", "from rescore.cli import main; main()", "run"]
    with subprocess.Popen([*command, "--dsn", site.dsn], stdout=subprocess.DEVNULL) as runner:
        try:
            yield
        finally:
            runner.terminate()
