"""PostgreSQL's own programs, and PgBouncer, run as the server's account."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rescore.errors import NoServer
from rescore.server.account import server_account
from rescore.server.binaries import find_binaries


def run(program: str, *words: str | Path, cwd: Path, options: str = "") -> str:
    """Run a program of PostgreSQL and return what it printed.

    Parameters
    ----------
    options: settings of its session, as PGOPTIONS takes them.

    Raises
    ------
    NoServer: it failed; DETAIL is what it said.
    """
    command: list[str | Path] = [find_binaries().folder / program, *words]
    if options:
        command = ["env", f"PGOPTIONS={options}", *command]
    done = server_account().run(command, cwd=cwd)
    if done.returncode != 0:
        raise NoServer(f"{program} failed", detail=done.stderr)
    return done.stdout


def bouncer() -> Path | None:
    """Return where PgBouncer is installed, if it is."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None
