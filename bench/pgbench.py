"""One turn of pgbench, with what it cost the server."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.conninfo import conninfo_to_dict

from rescore.bench.meter import Meter
from rescore.bench.sites import Site
from rescore.bench.waits import Waits
from rescore.errors import NoServer
from rescore.server.binaries import find_binaries

Measures = dict[str, float]
# Transactions in a second that even those manage who need a millisecond for an event.
SLOW_RATE = 500


@dataclass(frozen=True)
class Turn:
    """What pgbench did, once every client had its first transaction behind it.

    Attributes
    ----------
    transactions: all of them, those of the beginning included.
    latencies: shape (n,), in microseconds.
    ends: shape (n,), when each ended, in seconds since the epoch.
    clients: shape (n,), the number of the client.
    """

    transactions: int
    latencies: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    clients: npt.NDArray[np.float64]

    def measures(self) -> Measures:
        """Return rate and latency."""
        seconds = self.ends.max() - self.ends.min()
        return {
            "per_second": (len(self.ends) - 1) / float(seconds),
            "p50_us": float(np.percentile(self.latencies, 50)),
            "p99_us": float(np.percentile(self.latencies, 99)),
        }


def pgbench(
    site: Site,
    script: str,
    *,
    clients: int,
    seconds: float = 0,
    transactions: int = 0,
    options: str = "",
) -> Turn:
    """Run a script for some seconds, or this many times in each client.

    Parameters
    ----------
    script: pgbench's language.
    clients: connections.
    seconds, transactions: one of the two. pgbench knows whole seconds only: a turn of less is as
        many transactions as fit into it at :data:`SLOW_RATE`.
    options: for libpq, such as ``-c synchronous_commit=off``.

    Raises
    ------
    NoServer: pgbench failed; says what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = _command(Path(folder), clients)
        command += _length(seconds, transactions)
        (Path(folder) / "script").write_text(script)
        done = subprocess.run(
            command, cwd=folder, env=_environment(site, options), capture_output=True, text=True
        )
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise NoServer("pgbench failed", detail=done.stderr[-2000:])
        return _turn(Path(folder), clients)


def measured(site: Site, script: str, *, clients: int = 1, **given: Any) -> Measures:
    """Run pgbench and return rates, latencies, and what each transaction cost the server.

    With several clients also ``lock_waits``: how many of them wait for a lock, in the mean.
    """
    if clients == 1:
        with Meter(site) as meter:
            turn = pgbench(site, script, clients=1, **given)
        return turn.measures() | meter.per(turn.transactions)
    with Meter(site) as meter, Waits(site) as waits:
        turn = pgbench(site, script, clients=clients, **given)
    return turn.measures() | meter.per(turn.transactions) | {"lock_waits": waits.mean}


def _length(seconds: float, transactions: int) -> list[str]:
    if seconds >= 1:
        return ["-T", str(int(seconds))]
    return ["-t", str(transactions or int(seconds * SLOW_RATE))]


def _command(folder: Path, clients: int) -> list[str | Path]:
    program = find_binaries().folder / "pgbench"
    how = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1"]
    return [program, *how, "-f", folder / "script", "--log", "--log-prefix=log"]


def _environment(site: Site, options: str) -> dict[str, str]:
    parts = conninfo_to_dict(site.server.dsn)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER"}
    return {names[k]: str(v) for k, v in parts.items() if k in names} | {
        "PGDATABASE": site.name,
        "PGOPTIONS": options,
    }


def _turn(folder: Path, clients: int) -> Turn:
    """Read the log: client, transaction, latency in µs, script, epoch seconds, µs.

    What a session does once (loading scikit-learn, or planning) would weigh more the shorter the
    turn: transactions count from when the last client has ended its first.
    """
    rows = np.loadtxt(next(folder.glob("log.*")), usecols=(0, 2, 4, 5), ndmin=2)
    ends = rows[:, 2] + rows[:, 3] / 1e6
    firsts = [ends[rows[:, 0] == client][:1] for client in range(clients)]
    settled = ends >= max(first[0] if len(first) else np.inf for first in firsts)
    if settled.sum() < 2:
        raise NoServer("a turn of pgbench ended before all its clients had begun")
    return Turn(len(rows), rows[settled, 1], ends[settled], rows[settled, 0])
