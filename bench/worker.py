"""External workers: they insert, count, read, score in the client and write back, by psycopg."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

import numpy as np
import psycopg

from rescore.bench import shop
from rescore.bench.meter import Meter
from rescore.bench.pgbench import Measures
from rescore.bench.sites import Site, pipeline
from rescore.bench.waits import Waits

Scorer = Callable[[list[float]], float]
FORK = multiprocessing.get_context("fork")


def sklearn_scorer(features: int) -> Scorer:
    """Return what most people write: predict_proba of one row."""
    estimator = pipeline(features)
    return lambda numbers: float(estimator.predict_proba([numbers])[0][1])


def hand_scorer(features: int) -> Scorer:
    """Return the same score tuned by hand: scaler folded into the weights, a dot product."""
    scaler, classifier = (step for _, step in pipeline(features).steps)
    weights = classifier.coef_[0] / scaler.scale_
    intercept = float(classifier.intercept_[0] - weights @ scaler.mean_)
    return lambda numbers: float(1 / (1 + np.exp(-(weights @ np.array(numbers) + intercept))))


def measured(site: Site, *, clients: int, seconds: float, options: str = "") -> Measures:
    """Let workers run side by side, a process each; return rate, latencies, costs, lock waits."""
    make = hand_scorer if site.contender == "worker by hand" else sklearn_scorer
    scorer = make(site.features)
    scorer([0.0] * site.features)
    with Meter(site) as meter:
        latencies, waits = _latencies(site, scorer, clients, seconds, options)
    rates = {
        "per_second": len(latencies) / seconds,
        "p50_us": float(np.percentile(latencies, 50)),
        "p99_us": float(np.percentile(latencies, 99)),
    }
    rates |= {"lock_waits": waits} if clients > 1 else {}
    return rates | meter.per(len(latencies))


def _latencies(
    site: Site, scorer: Scorer, clients: int, seconds: float, options: str
) -> tuple[list[float], float]:
    """Fork, so that scikit-learn is loaded already when the clock starts."""
    pairs = [FORK.Pipe(duplex=False) for _ in range(clients)]
    given = site, scorer, seconds, options
    processes = [
        FORK.Process(target=_work, args=(i, pair[1], *given)) for i, pair in enumerate(pairs)
    ]
    for process in processes:
        process.start()
    with Waits(site) as waits:  # its thread begins when all have been forked
        found = [latency for pair in pairs for latency in pair[0].recv()]
    for process in processes:
        process.join()
    return found, waits.mean


def _work(
    number: int, result: Pipe, site: Site, scorer: Scorer, seconds: float, options: str
) -> None:
    random = np.random.default_rng(number)
    latencies: list[float] = []
    with psycopg.connect(site.dsn, options=options, prepare_threshold=0) as conn:
        ends = time.perf_counter() + seconds
        while (began := time.perf_counter()) < ends:
            customer = int(random.integers(1, site.profiles + 1))
            _event(conn, site.features, customer, scorer)
            latencies.append((time.perf_counter() - began) * 1e6)
    result.send(latencies)


def _event(conn: psycopg.Connection[Any], features: int, customer: int, scorer: Scorer) -> None:
    """One event, one transaction: insert; count and read; score; write."""
    row = conn.execute(shop.query("insert"), (customer, 3, 12)).fetchone()
    assert row is not None
    given = (customer, 3, 12, row[0])
    numbers = conn.execute(shop.query("count", features), given).fetchone()
    if numbers:
        conn.execute(shop.query("write"), (scorer(numbers[0]), customer))
    conn.commit()
