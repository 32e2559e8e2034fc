"""The usual scoring service over HTTP: a model in memory, features from the same PostgreSQL."""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import numpy as np
import psycopg
import uvicorn  # type: ignore[import-untyped,import-not-found,unused-ignore]
from fastapi import FastAPI  # type: ignore[import-untyped,import-not-found,unused-ignore]

from rescore.bench import shop
from rescore.bench.pgbench import Measures
from rescore.bench.sites import Site
from rescore.bench.worker import Scorer, hand_scorer, sklearn_scorer

FORK = multiprocessing.get_context("fork")
# Requests that load code, open the connection and prepare the statement.
WARM_UP = 20


def with_sklearn(site: Site, seconds: float) -> Measures:
    """Ask a service that calls predict_proba."""
    return _measured(site, sklearn_scorer(site.features), seconds)


def by_hand(site: Site, seconds: float) -> Measures:
    """Ask one with the model folded into a dot product."""
    return _measured(site, hand_scorer(site.features), seconds)


def _measured(site: Site, scorer: Scorer, seconds: float) -> Measures:
    with _serving(site, scorer) as port:
        latencies = np.array(_ask(port, site.profiles, seconds))
    return {
        "per_second": len(latencies) / float(latencies.sum()) * 1e6,
        "p50_us": float(np.percentile(latencies, 50)),
        "p99_us": float(np.percentile(latencies, 99)),
    }


@contextmanager
def _serving(site: Site, scorer: Scorer) -> Iterator[int]:
    """Serve in a process of its own; yield the port, on which connections already wait."""
    listening = socket.create_server(("127.0.0.1", 0))
    # What it accepts inherits this: without, an answer of two packets waits 40 ms for the client.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    process = FORK.Process(target=_serve, args=(site, scorer, listening))
    process.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        process.terminate()
        process.join()
        listening.close()


def _serve(site: Site, scorer: Scorer, listening: socket.socket) -> None:
    config = uvicorn.Config(application(site, scorer), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def application(site: Site, scorer: Scorer) -> FastAPI:
    """Return the service: ``GET /score/{customer}`` reads the features and scores them."""
    text = shop.statement("features.sql.j2", features=shop.features(site.features))
    opened: list[psycopg.AsyncConnection[tuple[list[float]]]] = []

    @asynccontextmanager
    async def connected(_: FastAPI) -> AsyncIterator[None]:
        async with await psycopg.AsyncConnection.connect(
            site.dsn, autocommit=True, prepare_threshold=0
        ) as conn:
            opened.append(conn)
            yield

    app = FastAPI(lifespan=connected)

    @app.get("/score/{customer}")  # type: ignore[untyped-decorator,unused-ignore]
    async def score(customer: int) -> dict[str, float | None]:
        row = await (await opened[0].execute(text, [customer])).fetchone()
        return {"score": scorer(row[0]) if row else None}

    return app


def _ask(port: int, profiles: int, seconds: float) -> list[float]:
    """Ask over one connection that is kept open; return latencies in microseconds."""
    customers = np.random.default_rng(7)
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(WARM_UP):
        _get(conn, 1)
    latencies: list[float] = []
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        _get(conn, int(customers.integers(1, profiles + 1)))
        latencies.append((time.perf_counter() - began) * 1e6)
    conn.close()
    return latencies


def _get(conn: http.client.HTTPConnection, customer: int) -> None:
    conn.request("GET", f"/score/{customer}")
    answer = conn.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise http.client.HTTPException(f"{answer.status}: {body[:200]!r}")
