"""Which installed PostgreSQL the private server runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rescore.errors import NoServer

OLDEST = 14
VERSIONS = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Binaries:
    """An installed PostgreSQL.

    Attributes
    ----------
    folder: where ``initdb`` and ``postgres`` are.
    major: 15 for PostgreSQL 15.4.
    version: ``"15.4"``.
    has_python: whether PL/Python can be created in its databases.
    """

    folder: Path
    major: int
    version: str
    has_python: bool


def find_binaries(major: int | None = None) -> Binaries:
    """Return the PostgreSQL to run: with PL/Python if there is one, then the newest.

    The directory ``$RESCORE_PG_BIN`` goes before everything installed.

    Parameters
    ----------
    major: only this version, for a data directory that exists.

    Raises
    ------
    NoServer: none is installed, or not the one asked for.
    """
    found = [b for b in _installed() if b.major >= OLDEST and major in (None, b.major)]
    if not found:
        wanted = f">= {OLDEST}" if major is None else str(major)
        raise NoServer(
            f"PostgreSQL {wanted} is not installed",
            detail=f"Looked for VERSION/bin/initdb under {VERSIONS}.",
            hint="Install postgresql and postgresql-plpython3, or run make setup in the checkout.",
        )
    return max(found, key=lambda b: (b.has_python, b.major))


def _installed() -> Iterator[Binaries]:
    override = os.environ.get("RESCORE_PG_BIN")
    folders = [Path(override)] if override else VERSIONS.glob("*/bin")
    return (_describe(f) for f in folders if (f / "initdb").exists())


def _describe(folder: Path) -> Binaries:
    """Ask ``postgres`` itself; ``postgres (PostgreSQL) 18beta1`` is version 18."""
    command = [str(folder / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"\b(\d+)(?:\.\d+)?", said)
    if match is None:
        raise NoServer(f"{folder / 'postgres'} does not tell its version", detail=said)
    python = folder.parent / "lib" / "plpython3.so"
    return Binaries(folder, int(match[1]), match[0], python.exists())
