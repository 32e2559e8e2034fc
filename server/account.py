"""Under which account, and where, the private server lives.

PostgreSQL refuses to run as root, and an account that is not root may be unable to reach the
checkout. So for root the home is a system directory, for everybody else a folder of the checkout.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescore.errors import NoServer

PACKAGE = Path(__file__).resolve().parents[1]
SYSTEM_HOMES = Path("/var/lib/rescore")
SERVER_ACCOUNT = "postgres"
# The address of a socket has 107 bytes, PostgreSQL's file name needs 16 of them.
LONGEST_SOCKET_DIR = 90


@dataclass(frozen=True)
class Account:
    """An account of the operating system that runs the server."""

    name: str
    uid: int
    gid: int

    def run(self, command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, with nothing of the caller's environment.

        Library threads are held to one: OpenBLAS would start a pool in every backend.
        """
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONNOUSERSITE": "1",
        }
        drop = {} if os.geteuid() == self.uid else _identity(self)
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **drop,
        )

    def own(self, folder: Path) -> None:
        """Make ``folder`` if need be, this account's and nobody else's."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), self.uid):
            raise NoServer(
                f"{folder} belongs to somebody else",
                detail=f"The server's account is {self.name}.",
                hint="Remove it, or choose another place with RESCORE_HOME.",
            )
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)


def _identity(account: Account) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def server_account() -> Account:
    """Return the caller's account, or an unprivileged one when the caller is root.

    Raises
    ------
    NoServer: root has no unprivileged account to use.
    """
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        raise NoServer(
            "PostgreSQL does not run as root, and there is no other account to run it",
            detail=f"The account {SERVER_ACCOUNT!r} comes with PostgreSQL's package.",
            hint="Run make setup, or run as an ordinary user.",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def default_home() -> Path:
    """Return where the private server keeps its files.

    ``$RESCORE_HOME`` if set; for root a directory of its own for each checkout under
    ``/var/lib/rescore``; otherwise ``.rescore`` in the checkout, or in the user's home directory
    when rescore was installed without a checkout.
    """
    if chosen := os.environ.get("RESCORE_HOME"):
        return Path(chosen).resolve()
    if os.geteuid() == 0:
        return SYSTEM_HOMES / short_digest(PACKAGE)
    checkout = (PACKAGE / "pyproject.toml").exists() and os.access(PACKAGE, os.W_OK)
    return PACKAGE / ".rescore" if checkout else Path.home() / ".rescore"


def socket_dir(home: Path) -> Path:
    """Return the socket's directory: in the home, or a short one when the home's path is unfit.

    Unfit is a path that is too long for a socket, or with characters that PostgreSQL's list of
    directories, or a connection string pasted into a shell, would need quoted.
    """
    plain = re.fullmatch(r"[\w./-]+", str(home), re.ASCII)
    if plain and len(str(home / "run")) <= LONGEST_SOCKET_DIR:
        return home / "run"
    base = os.environ.get("XDG_RUNTIME_DIR", "/tmp") if os.geteuid() != 0 else "/tmp"
    return Path(base) / f"rescore-{os.geteuid()}-{short_digest(home)}"


def short_digest(path: Path) -> str:
    """Return twelve hexadecimal digits that stand for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
