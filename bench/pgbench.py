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
from rescore.errors import NoServer
from rescore.server.binaries import find_binaries

Measures = dict[str, float]


@dataclass(frozen=True)
class Turn:
    """What pgbench did.

    Attributes
    ----------
    seconds: how long.
    latencies: shape (transactions,), in microseconds.
    ends: shape (transactions,), when each ended, in seconds since the epoch.
    """

    seconds: float
    latencies: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    def measures(self) -> Measures:
        """Return rate and latency."""
        return {
            "per_second": len(self.latencies) / self.seconds,
            "p50_us": float(np.percentile(self.latencies, 50)),
            "p99_us": float(np.percentile(self.latencies, 99)),
        }


def pgbench(
    site: Site,
    script: str,
    *,
    clients: int,
    seconds: int,
    options: str = "",
    mode: str = "prepared",
) -> Turn:
    """Run a script for some seconds.

    Parameters
    ----------
    script: pgbench's language.
    clients: connections.
    options: for libpq, such as ``-c synchronous_commit=off``.
    mode: of the protocol: ``simple``, ``extended`` or ``prepared``.

    Raises
    ------
    NoServer: pgbench failed; says what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = _command(site, Path(folder), clients, seconds, mode)
        (Path(folder) / "script").write_text(script)
        done = subprocess.run(
            command, cwd=folder, env=_environment(site, options), capture_output=True, text=True
        )
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise NoServer("pgbench failed", detail=done.stderr[-2000:])
        return _turn(Path(folder), seconds)


def measured(site: Site, script: str, **given: Any) -> Measures:
    """Run pgbench and return rates, latencies, and what each transaction cost the server."""
    with Meter(site) as meter:
        turn = pgbench(site, script, **given)
    return turn.measures() | meter.per(len(turn.latencies))


def _command(site: Site, folder: Path, clients: int, seconds: int, mode: str) -> list[str | Path]:
    program = find_binaries().folder / "pgbench"
    how = ["-n", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds)]
    return [program, *how, "-f", folder / "script", "--log", "--log-prefix=log", site.name]


def _environment(site: Site, options: str) -> dict[str, str]:
    parts = conninfo_to_dict(site.server.dsn)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER"}
    return {names[k]: str(v) for k, v in parts.items() if k in names} | {"PGOPTIONS": options}


def _turn(folder: Path, seconds: int) -> Turn:
    """Read the log: client, transaction, latency in µs, script, epoch seconds, µs."""
    rows = np.loadtxt(next(folder.glob("log.*")), usecols=(2, 4, 5), ndmin=2)
    return Turn(seconds, rows[:, 0], rows[:, 1] + rows[:, 2] / 1e6)
